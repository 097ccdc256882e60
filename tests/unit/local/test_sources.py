import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from order_engine.local.sources import Sources


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda old, new: old.write_text("pass  # longer"), id="changed"),
        pytest.param(lambda old, new: old.unlink(), id="gone"),
        pytest.param(lambda old, new: old.rename(new), id="renamed"),
    ],
)
def test_a_changed_source_is_named(change: Callable[[Path, Path], object], tmp_path: Path) -> None:
    source = tmp_path / "gateway" / "api.py"
    source.parent.mkdir()
    source.write_text("pass")
    sources = Sources(tmp_path)
    change(source, source.with_name("z.py"))

    assert asyncio.run(asyncio.wait_for(sources.change(), 5)) == "gateway/api.py"


def test_only_sources_count(tmp_path: Path) -> None:
    sources = Sources(tmp_path)
    (tmp_path / "api.pyc").write_text("")
    (tmp_path / "claim.lua").write_text("")

    assert asyncio.run(asyncio.wait_for(sources.change(), 5)) == "claim.lua"


def test_a_change_is_told_once(tmp_path: Path) -> None:
    sources = Sources(tmp_path)
    (tmp_path / "first.py").write_text("")
    asyncio.run(sources.change())
    (tmp_path / "second.py").write_text("")

    assert asyncio.run(asyncio.wait_for(sources.change(), 5)) == "second.py"
