import socket
from collections.abc import Iterator

import pytest

from order_engine.local.programs import listening_port, local_programs, origin
from order_engine.local.settings import LocalSettings


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_the_engine_runs_a_web_process_a_worker_and_a_dispatcher_for_each_status() -> None:
    names = [program.name for program in local_programs(LocalSettings(admin_port=0), port=3000)]

    assert names == [
        "web",
        "order-worker",
        "status-dispatcher-pending",
        "status-dispatcher-routing",
        "status-dispatcher-building",
        "status-dispatcher-submitted",
        "status-dispatcher-confirmed",
        "status-dispatcher-failed",
    ]


def test_taken_ports_are_not_used_as_admin_ports(taken_port: int) -> None:
    settings = LocalSettings(admin_port=taken_port)
    ports = [program.admin_port for program in local_programs(settings, port=taken_port + 1)]

    assert min(ports) > taken_port + 1
    assert len(set(ports)) == len(ports)


def test_a_taken_port_is_an_error(taken_port: int) -> None:
    with pytest.raises(OSError, match="in use"):
        listening_port("127.0.0.1", taken_port)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "http://127.0.0.1:3000"),
        ("0.0.0.0", "http://127.0.0.1:3000"),  # noqa: S104
        ("::1", "http://[::1]:3000"),
        ("::", "http://[::1]:3000"),
    ],
)
def test_an_origin_can_be_opened_on_this_machine(host: str, shown: str) -> None:
    assert origin(host, 3000) == shown
