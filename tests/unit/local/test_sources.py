import asyncio
from pathlib import Path

import pytest

from order_engine.local.sources import changed_source


@pytest.mark.parametrize("name", ["api.py", "claim.lua", "orders.sql"])
def test_the_changed_source_is_returned(name: str, tmp_path: Path) -> None:
    async def change() -> str:
        waiting = asyncio.create_task(changed_source(tmp_path))
        while not waiting.done():  # the watch begins in a thread of its own
            (tmp_path / "api.pyc").write_text("ignored")
            (tmp_path / name).touch()
            await asyncio.wait([waiting], timeout=0.1)
        return waiting.result()

    assert asyncio.run(asyncio.wait_for(change(), 10)) == name
