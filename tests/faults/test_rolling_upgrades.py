"""Processes of the version before and of this version work together while a release is rolled out."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from support.evidence import rows
from support.fleet import DISPATCHERS, INSTANT, Fleet, running_fleet
from support.steady_load import Load
from support.stores import Databases

REPOSITORY = Path(__file__).parents[2]
VERSION_BEFORE = (
    "93108eb82a936958298020b1b6c4f442ceaaa9cb"  # runs with the packages of this version
)

FORWARD = ("gateway", "order-worker", "order-worker#2", *DISPATCHERS, "ws-gateway")
UNLIMITED = INSTANT | {
    "VENUE_EXECUTION_MAX_S": "0.2",
    "QUEUE_RATE_LIMIT_PER_MINUTE": "0",
    "WS_WORKER_RATE_LIMIT": "0",
}
LEASED = """
SELECT count(*) AS n FROM orders
WHERE lease_owner IS NOT NULL AND status NOT IN ('confirmed', 'failed')
"""

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def services_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The services of the version before, from the history of the repository."""
    directory = tmp_path_factory.mktemp("before")
    archived = subprocess.run(
        ["git", "-C", REPOSITORY, "archive", VERSION_BEFORE, "services"],
        capture_output=True,
        check=False,
    )
    if archived.returncode != 0:
        pytest.skip("the clone has no history")
    subprocess.run(["tar", "-x", "-C", directory], input=archived.stdout, check=True)
    return directory / "services"


@pytest.mark.parametrize("names", [FORWARD, FORWARD[::-1]], ids=["gateway_first", "gateway_last"])
def test_orders_and_frames_pass_while_one_process_after_another_is_replaced(
    databases: Databases,
    redis_url: str,
    tmp_path: Path,
    services_before: Path,
    names: Sequence[str],
) -> None:
    before = UNLIMITED | {"PYTHONPATH": str(services_before)}
    with running_fleet(databases, redis_url, tmp_path, before, FORWARD) as fleet:
        now = {
            name: value
            for name, value in fleet["gateway"].environment.items()
            if name != "PYTHONPATH"
        }
        load = Load(client=fleet.client)
        with load.running():
            for name in names:
                load.wait_for(orders=4)
                restart(fleet, name, now)
            restart(fleet, "order-worker", {**now, **before})  # rolled back
            load.wait_for(orders=8)
            restart(fleet, "order-worker", now)
            load.wait_for(orders=8)

        assert load.violations(databases) == []
        assert load.unmatched_orders(databases) == set()
        assert rows(databases.orders_url, LEASED) == [{"n": 0}]
        assert [log.name for log in tmp_path.glob("*.log") if "Traceback" in log.read_text()] == []


def restart(fleet: Fleet, name: str, environment: Mapping[str, str]) -> None:
    """Starts a process again at its address, with the services that the environment leads to."""
    assert fleet[name].terminate() == 0
    fleet[name].environment = environment
    fleet.start([name])
