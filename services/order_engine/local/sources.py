"""The source files that a development run follows."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUFFIXES = frozenset({".py", ".sql", ".lua"})
LOOK_EVERY_S = 1.0


class Sources:
    """The state of all files as last seen, so that no change falls between two looks."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._seen = _times(root)

    async def change(self) -> str:
        """Waits for a change; the path of a file that changed, came or went."""
        while True:
            now = _times(self._root)
            changed = now.items() ^ self._seen.items()
            self._seen = now
            if changed:
                return min(str(path.relative_to(self._root)) for path, _ in changed)
            await asyncio.sleep(LOOK_EVERY_S)


def _times(root: Path) -> Mapping[Path, int]:
    """Modification times in nanoseconds."""
    times = {}
    for path in root.rglob("*"):
        if path.suffix in SUFFIXES:
            try:
                times[path] = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue  # gone between the two calls
    return times
