import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import hiredis
import pytest

from order_engine.execution.stores.redis_clients import (
    RedisTooOld,
    async_redis_client,
    redis_client,
)


@pytest.mark.parametrize("version", ["5.0.14", "6.0.16"])
def test_every_call_to_a_server_that_is_too_old_fails(version: str) -> None:
    with server_with_version(version) as url, redis_client(url) as client:
        for _ in range(2):
            with pytest.raises(RedisTooOld) as refused:
                client.get("key")

    assert str(refused.value) == f"Redis {version} is too old: 6.2 or later is required"


@pytest.mark.parametrize("version", ["6.2.0", "7.4.2", "8.10.1", "9.1.2", "255.255.255"])
def test_a_supported_server_is_used(version: str) -> None:
    with server_with_version(version) as url, redis_client(url) as client:
        assert client.set("key", "value")


@pytest.mark.parametrize("make", [redis_client, async_redis_client])
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://user:hush@host/0?colour=red", "unexpected keyword argument 'colour'"),
        ("redis://user:hush@host/0?db=first", "Invalid value for 'db'"),
        ("redis://user:hush@host/0?ssl_ca_certs=/ca.pem", "argument 'ssl_ca_certs'"),
        ("rediss://user:hush@host/0?ssl_cert_reqs=some", "Requirements Flag: some"),
        ("rediss://user:hush@host/0?ssl_ca_certs=/no/ca.pem", "directory: '/no/ca.pem'"),
        ("rediss://user:hush@host/0?ssl_keyfile=/no/key.pem", "directory: '/no/key.pem'"),
    ],
)
def test_a_wrong_option_ends_the_start_with_one_line(make: object, url: str, reason: str) -> None:
    with pytest.raises(
        SystemExit, match=r"^cannot start: the Redis URL has a wrong option: .+$"
    ) as end:
        make(url)  # type: ignore[operator]

    assert reason in str(end.value)
    assert "hush" not in str(end.value)


@contextmanager
def server_with_version(version: str) -> Iterator[str]:
    """The URL of a server that answers HELLO as a Redis of this version, and OK to everything else."""
    greeting = f"%2\r\n+version\r\n+{version}\r\n+proto\r\n:3\r\n".encode()

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=answer, args=(client,), daemon=True).start()

    def answer(client: socket.socket) -> None:
        commands = hiredis.Reader()
        with client, suppress(OSError):
            while data := client.recv(65_536):
                commands.feed(data)
                while command := commands.gets():
                    client.sendall(greeting if command[0] == b"HELLO" else b"+OK\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        listener.shutdown(socket.SHUT_RDWR)
