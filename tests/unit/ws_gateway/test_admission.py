from typing import Any

import pytest
from starlette.websockets import WebSocket

from order_engine.ws_gateway.admission import address_of


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (None, ""),
        (("192.0.2.1", 1), "192.0.2.1"),
        (("::ffff:192.0.2.1", 1), "192.0.2.1"),
        (("unix", 0), "unix"),
    ],
)
def test_an_address_counts_for_itself(client: tuple[str, int] | None, address: str) -> None:
    assert address_of(a_websocket(client)) == address


def test_the_addresses_of_one_ipv6_network_count_together() -> None:
    near, same, far = (
        address_of(a_websocket((host, 1)))
        for host in ("2001:db8::1", "2001:db8:0:0:ffff::2", "2001:db8:0:1::1")
    )

    assert near == same != far


def a_websocket(client: tuple[str, int] | None) -> WebSocket:
    async def nothing(*_: object) -> None:
        pass

    scope: dict[str, Any] = {"type": "websocket", "client": client, "headers": []}
    return WebSocket(scope, nothing, nothing)  # type: ignore[arg-type]  # never called
