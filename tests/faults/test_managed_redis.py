"""Redis as providers offer it: with few rights, without scripts, and in cluster mode."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.fleet import EVERY_DEPLOYABLE, INSTANT, Fleet, running_fleet
from support.redis_process import cluster_options, redis_process
from support.stores import Databases
from support.trading import trade
from support.waiting import wait_until

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

README = Path(__file__).parents[2] / "README.md"
READY_WITHOUT_REDIS = ("gateway", "order-worker", "ws-gateway")
DISPATCHERS = tuple(name for name in EVERY_DEPLOYABLE if name not in READY_WITHOUT_REDIS)
LACKING = "redis lacks what the engine needs"


def documented_rules() -> Sequence[str]:
    [rules] = re.findall(
        r"ACL SETUSER engine on '>PASSWORD' (.*)$", README.read_text(), re.MULTILINE
    )
    return [rule.strip("'") for rule in rules.split()]


def repeated_warnings(directory: Path) -> dict[tuple[str, ...], int]:
    """Warnings that a process has written more than once, without their times."""
    counts: Counter[tuple[str, ...]] = Counter()
    for log in directory.glob("*.log"):
        for line in log.read_text().splitlines():
            entry = json.loads(line)
            if entry["level"] in ("warning", "error"):
                del entry["timestamp"]
                counts[log.name, json.dumps(entry, sort_keys=True)] += 1
    return {key: count for key, count in counts.items() if count > 1}


def faults(directory: Path, name: str) -> list[str]:
    entries = map(json.loads, (directory / f"{name}.log").read_text().splitlines())
    return [entry["fault"] for entry in entries if entry["event"] == LACKING]


def test_the_rights_that_the_readme_names_are_enough(databases: Databases, tmp_path: Path) -> None:
    directory = tmp_path / "redis"
    directory.mkdir()
    with redis_process(directory) as server, server.client() as admin:
        rules = documented_rules()
        admin.execute_command("ACL", "SETUSER", "engine", "on", ">secret", *rules)
        url = server.url.replace("redis://", "redis://engine:secret@")
        with running_fleet(databases, url, tmp_path, INSTANT) as fleet:
            trade(fleet, 20)
            fleet["order-worker"].kill()
            fleet.start(["order-worker"])
            trade(fleet, 5)
            claimed = fleet["order-worker"].metric('order_engine_orders_claimed_total{way="hint"}')

        assert claimed
        assert admin.acl_log() == []
        assert not any(faults(tmp_path, name) for name in EVERY_DEPLOYABLE)


@pytest.mark.parametrize("kind", ["no_scripts", "cluster"])
def test_orders_end_and_each_fault_is_said_once(
    databases: Databases, tmp_path: Path, kind: str
) -> None:
    directory = tmp_path / "redis"
    directory.mkdir()
    options = cluster_options() if kind == "cluster" else ()
    with redis_process(directory, options) as server, server.client() as admin:
        if kind == "cluster":
            admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
        else:
            admin.execute_command("ACL", "SETUSER", "default", "-@scripting")
        fleet = Fleet(databases, server.url, tmp_path, INSTANT)
        try:
            fleet.start(READY_WITHOUT_REDIS)
            with pytest.raises(AssertionError, match="did not become true"):
                fleet.start(DISPATCHERS, within_s=1)
            trade(fleet, 5)
            wait_until(
                lambda: all(faults(tmp_path, name) for name in DISPATCHERS),
                timeout_s=20,
                what="every dispatcher has said what Redis lacks",
            )
        finally:
            fleet.close()

    expected = "cluster mode is on" if kind == "cluster" else "the user may not run SCRIPT"
    assert all(
        fault.startswith(expected) for name in DISPATCHERS for fault in faults(tmp_path, name)
    )
    assert repeated_warnings(tmp_path) == {}
