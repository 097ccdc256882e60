"""The processes of the local engine, and their ports."""

from collections.abc import Iterator
from dataclasses import dataclass

from order_engine.execution.deployables import DEPLOYABLES
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.hints import STATUS_PRIORITIES
from order_engine.local.settings import LocalSettings
from order_engine.serving.listening import bound_socket, has_ipv6


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One process; it runs the main of `module`."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    admin_port: int


def local_programs(settings: LocalSettings, *, port: int) -> list[Program]:
    """In the order in which they are stopped: a process before those that it depends on."""
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
    """The URL at which a browser on this machine reaches a server that listens on `host`."""
    own = "::1" if host == "::" and has_ipv6() else "127.0.0.1"
    here = own if host in ("::", "0.0.0.0") else host  # noqa: S104 - shown, not bound
    return f"http://[{here.replace('%', '%25')}]:{port}" if ":" in here else f"http://{here}:{port}"


def listening_port(host: str, port: int) -> int:
    """`port`, or a free one for 0. Raises OSError when the port is in use."""
    with bound_socket(host, port) as listener:
        number: int = listener.getsockname()[1]
        return number


def _free_ports(host: str, first: int, *, avoid: int) -> Iterator[int]:
    """The free ports from `first` up, without `avoid`; any free port for 0."""
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
