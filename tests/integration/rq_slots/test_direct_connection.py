"""A direct connection never mixes up replies, whatever happened to the call before."""

from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from rq_slots.direct_connection import DirectConnection


@pytest.fixture
def connection(client: redis.Redis) -> Iterator[DirectConnection]:
    with closing(DirectConnection(client)) as connection:
        yield connection


def test_replies_come_in_the_order_of_the_commands(connection: DirectConnection) -> None:
    assert connection.call(("RPUSH", "list", "a", "b"), ("LLEN", "list"), ("LPOP", "list")) == [
        2,
        2,
        b"a",
    ]


def test_no_command_has_no_reply(connection: DirectConnection) -> None:
    assert connection.call() == []


def test_an_error_reply_fails_its_call_and_no_other(connection: DirectConnection) -> None:
    with pytest.raises(redis.ResponseError):
        connection.call(("SET", "key", "text"), ("LLEN", "key"), ("GET", "key"))

    assert connection.call(("GET", "key")) == [b"text"]


def test_it_connects_again_after_its_connection_was_lost(
    connection: DirectConnection, client: redis.Redis
) -> None:
    [own_id] = connection.call(("CLIENT", "ID"))
    client.client_kill_filter(_id=own_id)

    with pytest.raises(redis.ConnectionError):
        connection.call(("PING",))

    assert connection.call(("PING",)) == [b"PONG"]


def test_a_late_reply_is_not_taken_for_that_of_the_next_call(connection: DirectConnection) -> None:
    with pytest.raises(redis.TimeoutError):
        connection.call(("BLPOP", "nothing", 5))

    assert connection.call(("PING",)) == [b"PONG"]


def test_a_script_runs_before_and_after_redis_has_forgotten_it(
    connection: DirectConnection, client: redis.Redis
) -> None:
    script = client.register_script("return {KEYS[1], ARGV[1]}")
    client.script_flush()

    for _ in range(2):
        assert connection.run(script, keys=["key"], args=["argument"]) == [b"key", b"argument"]
