import pytest
from starlette.websockets import WebSocket

from ws_gateway.doors import address_of, is_same_host


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://engine", "engine"),
        ("http://engine", "engine:80"),
        ("http://engine:80", "engine"),
        ("https://engine", "engine"),
        ("https://engine", "engine:443"),
        ("https://Engine.Example", "engine.example"),
        ("http://127.0.0.1:3000", "127.0.0.1:3000"),
        ("http://[::1]:3000", "[::1]:3000"),
    ],
)
def test_a_page_of_the_host_itself_is_known(origin: str, host: str) -> None:
    assert is_same_host(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil", "engine"),
        ("http://engine:3001", "engine:3000"),
        ("http://engine", "engine:443"),
        ("https://engine.evil", "engine"),
        ("https://engine@evil", "engine"),
        ("null", "engine"),
        ("null", ""),
        ("", ""),
        ("http://", ""),
        ("http://engine", ""),
        ("file://", ""),
        ("ftp://engine", "engine"),
        ("http://engine:x", "engine:x"),
        ("http://[", "["),
    ],
)
def test_any_other_page_is_foreign(origin: str, host: str) -> None:
    assert not is_same_host(origin, host)


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

    scope = {"type": "websocket", "client": client, "headers": []}
    return WebSocket(scope, nothing, nothing)  # type: ignore[arg-type]
