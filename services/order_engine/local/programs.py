"""What the local fleet consists of, and the ports it takes."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass

from order_engine.execution.deployables import DEPLOYABLES
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.hints import STATUS_PRIORITIES
from order_engine.local.settings import LocalSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One process: the module whose main it runs, and where it says how it is."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    admin_port: int


def local_programs(settings: LocalSettings, *, port: int) -> list[Program]:
    """In the order in which they are ended: the door first, those that it needs after it.

    They are started the other way round; among dispatchers the statuses' priorities decide.
    """
    wanted: list[tuple[str, str, tuple[str, ...]]] = [("web", "order_engine.local.web_main", ())]
    for deployable in DEPLOYABLES:
        if deployable.serves_clients or deployable.runs_once:
            continue  # in the web process, or run before the others
        if deployable.per_status:
            wanted += [
                (f"{deployable.name}-{status}", deployable.module, ("--status", str(status)))
                for status in sorted(OrderStatus, key=STATUS_PRIORITIES.__getitem__)
            ]
        else:
            wanted.append((deployable.name, deployable.module, ()))
    free = _free_ports(settings.admin_host, settings.admin_port, avoid=port)
    return [
        Program(name=name, module=module, arguments=arguments, admin_port=next(free))
        for name, module, arguments in wanted
    ]


def origin(host: str, port: int) -> str:
    """Where a browser on this machine finds what listens on `host`."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - shown, not bound
    return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"


def listening_port(host: str, port: int) -> int:
    """`port`, or any free one for 0. Raises OSError when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        number: int = listener.getsockname()[1]
        return number


def _free_ports(host: str, first: int, *, avoid: int) -> Iterator[int]:
    """Free ports from `first` up, those that others have left out; any for 0."""
    given = {avoid}
    while True:
        try:
            port = listening_port(host, first)
        except OSError:
            port = avoid
        if port not in given:
            given.add(port)
            yield port
        if first:
            first += 1
