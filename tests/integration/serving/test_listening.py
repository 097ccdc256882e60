"""Servers listen on both families, and see one form of each address."""

import asyncio
import errno
import socket
import subprocess
import sys

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect

from order_engine.serving.listening import bound_socket, has_ipv6
from order_engine.serving.server import serving
from support.ports import free_port

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")

# Forbids sockets of IPv6 to this process, as a kernel without IPv6 does, then connects to itself.
WITHOUT_IPV6 = """
import ctypes, errno, platform, struct, socket, sys

libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 41, "aarch64": 198}[platform.machine()]  # of the call socket()
program = [
    (0x20, 0, 0, 0), (0x15, 0, 3, number),  # another call: allowed
    (0x20, 0, 0, 16), (0x15, 0, 1, socket.AF_INET6),  # another family: allowed
    (0x06, 0, 0, 0x00050000 | errno.EAFNOSUPPORT), (0x06, 0, 0, 0x7FFF0000),
]
filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in program))
bpf = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(filters)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, bpf, 0, 0) == 0
try:
    socket.socket(socket.AF_INET6)
    sys.exit("IPv6 is still there")
except OSError:
    pass

from order_engine.local.programs import origin
from order_engine.serving.listening import bound_socket, has_ipv6

with bound_socket(sys.argv[1], 0) as listener:
    listener.listen()
    socket.create_connection(("127.0.0.1", listener.getsockname()[1])).close()
print(has_ipv6(), origin("::", 3000))
"""


async def client(request: Request) -> Response:
    return PlainTextResponse(request.client.host if request.client else "")


async def socket_client(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(websocket.client.host if websocket.client else "")
    await websocket.close()


APP = Starlette(routes=[Route("/", client), WebSocketRoute("/", socket_client)])


async def seen_client(host: str, at: str, *, proxies: tuple[str, ...] = (), to: str = "") -> str:
    """The client that the application sees over HTTP, and over a WebSocket: the same."""
    port = free_port()
    headers = {"X-Forwarded-For": to} if to else {}
    async with (
        serving(APP, host=host, port=port, trusted_proxies=proxies),
        httpx2.AsyncClient(trust_env=False, headers=headers) as http,
    ):
        over_http = (await http.get(f"http://{at}:{port}/")).text
        async with connect(f"ws://{at}:{port}/", additional_headers=headers, proxy=None) as ws:
            assert await ws.recv() == over_http
    return over_http


@pytest.mark.parametrize(
    ("host", "at", "client"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1", "127.0.0.1"),  # noqa: S104 - what a user sets
        ("::", "127.0.0.1", "127.0.0.1"),
        pytest.param("::", "[::1]", "::1", marks=needs_ipv6),
        pytest.param("::", "[::ffff:127.0.0.1]", "127.0.0.1", marks=needs_ipv6),
        pytest.param("::1", "[::1]", "::1", marks=needs_ipv6),
        pytest.param("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.1", marks=needs_ipv6),
    ],
)
def test_a_server_sees_the_address_of_its_client(host: str, at: str, client: str) -> None:
    assert asyncio.run(seen_client(host, at)) == client


@pytest.mark.parametrize(
    ("proxies", "forwarded", "client"),
    [
        (("127.0.0.1",), "192.0.2.7", "192.0.2.7"),
        (("127.0.0.0/8",), "192.0.2.7", "192.0.2.7"),
        (("127.0.0.1", "10.0.0.0/8"), "192.0.2.7, ::ffff:10.0.0.1", "192.0.2.7"),
        (("127.0.0.1", "10.0.0.0/8"), "192.0.2.7, [::FFFF:10.0.0.1]:443", "192.0.2.7"),
        (("10.0.0.0/8",), "192.0.2.7", "127.0.0.1"),
        ((), "192.0.2.7", "127.0.0.1"),
    ],
)
def test_a_proxy_is_recognised_on_a_server_of_both_families(
    proxies: tuple[str, ...], forwarded: str, client: str
) -> None:
    assert asyncio.run(seen_client("::", "127.0.0.1", proxies=proxies, to=forwarded)) == client


@pytest.mark.parametrize("host", ["::", "localhost", "127.0.0.1", "0.0.0.0"])  # noqa: S104
def test_without_ipv6_a_server_listens_on_ipv4(host: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_IPV6, host], capture_output=True, text=True, timeout=30
    )

    assert (done.stdout, done.stderr) == ("False http://127.0.0.1:3000\n", "")


def test_a_port_that_is_in_use_is_not_replaced_by_one_of_the_other_family() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        for host in ("127.0.0.1", "localhost", "::"):
            with pytest.raises(OSError, match="in use") as refused:
                bound_socket(host, other.getsockname()[1])
            assert refused.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("192.0.2.1", "Cannot assign requested address"),
        ("no.such.host.invalid", "No address|Name or service not known|failure in name"),
        ("a..b", "not an address or a name"),
        ("fe80::1%nowhere", "Name or service not known|No such device|Invalid argument"),
    ],
)
def test_a_host_that_is_not_of_this_machine_is_an_error_of_one_line(host: str, reason: str) -> None:
    async def start() -> None:
        async with serving(APP, host=host, port=0):
            pass

    with pytest.raises(SystemExit, match=rf"^cannot start: {host} port 0: ({reason})"):
        asyncio.run(start())
