"""The chart accepts a list where the services do, and refuses an entry that they would refuse."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from order_engine.execution.setting_lists import SEPARATORS
from support.setting_lists import NO_ORIGINS, NO_PROXIES, ORIGINS, PROXIES

# what only the services refuse: the schema knows no bound of ports, and any scheme
OF_THE_SERVICES = {
    "https://app.example.com:99999",
    "wss://app.example.com",
    "ftp://app.example.com",
}


SCHEMA = Path(__file__).parents[2] / "charts/order-engine/values.schema.json"
VALUES: Any = json.loads(SCHEMA.read_text())["properties"]


def accepts(value: str, written: str) -> bool:
    entries = [entry for entry in SEPARATORS.split(written) if entry]
    return all(re.search(VALUES[value]["items"]["pattern"], entry) for entry in entries)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        *(("trustedProxies", written) for written in PROXIES),
        *(("corsOrigins", written) for written in ORIGINS),
    ],
)
def test_the_chart_accepts(value: str, written: str) -> None:
    assert accepts(value, written)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        *(("trustedProxies", written) for written in NO_PROXIES),
        *(("corsOrigins", written) for written in NO_ORIGINS if written not in OF_THE_SERVICES),
    ],
)
def test_the_chart_refuses(value: str, written: str) -> None:
    assert not accepts(value, written)
