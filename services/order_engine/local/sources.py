"""Changes of the source files, for `make dev`."""

from pathlib import Path

from watchfiles import PythonFilter, awatch

ROOT = Path(__file__).parents[2]  # services/
SOURCES = PythonFilter(extra_extensions=(".sql", ".lua"))


async def changed_source(root: Path = ROOT) -> str:
    """Waits for a change; the path of a file that was changed, added or deleted."""
    async for changes in awatch(root, watch_filter=SOURCES):
        return min(str(Path(path).relative_to(root)) for _, path in changes)
    raise RuntimeError("the watch ended without a change")
