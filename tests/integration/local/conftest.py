from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def directory() -> Iterator[Path]:
    """Outside pytest's own, which each beginning session closes to other accounts.

    As root, PostgreSQL runs under another account.
    """
    with TemporaryDirectory(prefix="local-") as path:
        yield Path(path)
