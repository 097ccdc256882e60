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
def test_a_client_is_counted_by_its_address(client: tuple[str, int] | None, address: str) -> None:
    assert address_of(a_websocket(client)) == address


def test_the_addresses_of_one_ipv6_network_are_counted_together() -> None:
    first, same_network, other_network = (
        address_of(a_websocket((host, 1)))
        for host in ("2001:db8::1", "2001:db8:0:0:ffff::2", "2001:db8:0:1::1")
    )

    assert first == same_network != other_network


def a_websocket(client: tuple[str, int] | None) -> WebSocket:
    async def unused(*_: object) -> None:
        pass

    scope: dict[str, Any] = {"type": "websocket", "client": client, "headers": []}
    return WebSocket(scope, unused, unused)  # type: ignore[arg-type]  # never called
