"""What a Redis lacks is named, whatever a provider has switched off."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from order_engine.execution.messages.redis_needs import pubsub_faults, queue_calls, queue_faults
from support.ports import free_port
from support.redis_process import RedisProcess, cluster_options, redis_process
from support.waiting import wait_until

COMMANDS = sorted({str(call[0]) for call in queue_calls()})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with redis_process(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture
def user(server: RedisProcess) -> Iterator[Any]:
    """A client whose user the test restricts with `allow`."""
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "engine", "reset", "on", ">secret", "~*", "&*")
        admin.execute_command("ACL", "SETUSER", "engine", "+@all")
        url = server.url.replace("redis://", "redis://engine:secret@")
        with redis.Redis.from_url(url) as client:
            client.allow = lambda *rules: admin.execute_command("ACL", "SETUSER", "engine", *rules)
            yield client
        admin.flushall()


def test_a_server_of_the_usual_kind_lacks_nothing(user: Any) -> None:
    assert queue_faults(user) == []
    assert pubsub_faults(user) == []
    assert user.keys("*") == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_denied_is_named(user: Any, command: str) -> None:
    user.allow(f"-{command.lower().replace(' ', '|')}")

    assert queue_faults(user) == [f"the user may not run {command}"]


def test_all_denied_commands_are_named_in_one_fault(user: Any) -> None:
    user.allow("-@scripting")

    assert queue_faults(user) == ["the user may not run SCRIPT LOAD, SCRIPT EXISTS, EVAL, EVALSHA"]


def test_keys_that_the_user_may_not_use_count_as_denied_commands(user: Any) -> None:
    user.allow("resetkeys", "~other:*")
    [fault] = queue_faults(user)

    assert "HSET" in fault
    assert "ZADD" in fault


@pytest.mark.parametrize(
    ("rules", "denied"),
    [
        (("-publish",), "PUBLISH"),
        (("-subscribe",), "SUBSCRIBE"),
        (("resetchannels",), "PUBLISH, SUBSCRIBE"),
        (("resetchannels", "&other:*"), "PUBLISH, SUBSCRIBE"),
        (("-@pubsub",), "PUBLISH, SUBSCRIBE"),
    ],
)
def test_pubsub_that_is_denied_is_named(user: Any, rules: tuple[str, ...], denied: str) -> None:
    user.allow(*rules)

    assert pubsub_faults(user) == [f"the user may not run {denied}"]


def test_info_is_not_needed(user: Any) -> None:
    user.allow("-info")

    assert queue_faults(user) == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
def test_a_policy_that_deletes_keys_is_named(server: RedisProcess, user: Any, policy: str) -> None:
    with server.client() as admin:
        admin.config_set("maxmemory-policy", policy)
        try:
            assert queue_faults(user) == [
                f"maxmemory-policy is {policy}: set noeviction, or waiting jobs are deleted"
            ]
        finally:
            admin.config_set("maxmemory-policy", "noeviction")


def test_a_replica_is_named(server: RedisProcess, tmp_path: Path) -> None:
    with redis_process(tmp_path) as replica, replica.client() as client:
        client.replicaof("127.0.0.1", server.port)
        wait_until(
            lambda: client.info("replication")["master_link_status"] == "up",
            timeout_s=20,
            what="the replica in step",
        )

        assert queue_faults(client) == [
            "it is a read-only replica: give the address of the primary"
        ]


def test_cluster_mode_is_named(tmp_path: Path) -> None:
    with redis_process(tmp_path, cluster_options()) as server, server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
        [fault] = queue_faults(client)

    assert fault.startswith("cluster mode is on")


def test_a_server_that_is_away_is_no_fault_of_its_settings(tmp_path: Path) -> None:
    client = redis.Redis(port=free_port())

    with pytest.raises(redis.ConnectionError):
        queue_faults(client)
