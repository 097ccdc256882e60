"""The order execution engine. See docs/architecture.md."""

import sys

# structlog imports rich when it is installed, and rich takes 4 MB in each process that never uses it
sys.modules["rich"] = None  # type: ignore[assignment]  # makes the import fail
import structlog  # noqa: E402, F401

del sys.modules["rich"]
