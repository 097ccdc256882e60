"""What the engine needs of a Redis: commands, keys, channels, one server, and no eviction.

Managed servers often lack some of it. Orders then still end, because recovery reads PostgreSQL, but
later, and their statuses come late.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import redis
import structlog

from order_engine.execution.messages.channels import channel
from order_engine.execution.stores.redis_clients import redis_client

SCRIPT = "return 1"
SCRATCH_S = 60

log = structlog.get_logger()

Faults = list[str]


def queue_faults(client: redis.Redis) -> Faults:
    """What the server of the queues lacks, as sentences; it may write scratch keys below `rq:`.

    Raises redis.ConnectionError or redis.TimeoutError when it does not answer.
    """
    return [*_faults_of_server(client), *_lacking(_denied(client, queue_calls()))]


def pubsub_faults(client: redis.Redis) -> Faults:
    """As `queue_faults`, for the server of pub/sub."""
    calls = [("PUBLISH", channel("check"), ""), ("PING",)]
    denied = _denied(client, calls)
    try:
        with client.pubsub() as pubsub:  # type: ignore[no-untyped-call]  # untyped in redis
            pubsub.subscribe(channel("check"))
            pubsub.get_message(timeout=1)
    except redis.exceptions.NoPermissionError:
        denied.append("SUBSCRIBE")
    return _lacking(denied)


async def report_faults(check: Callable[[redis.Redis], Faults], url: str) -> None:
    """Logs each fault once. A server that is away is reported by the calls that fail."""

    def checked() -> Faults:
        with redis_client(url) as client:
            return check(client)

    try:
        faults = await asyncio.to_thread(checked)
    except redis.RedisError:
        return
    for fault in faults:
        log.warning("redis lacks what the engine needs", fault=fault)


def _faults_of_server(client: redis.Redis) -> Faults:
    try:
        info: dict[str, Any] = client.info()
    except redis.ResponseError:  # not permitted everywhere, and not needed
        return []
    faults = []
    if info.get("cluster_enabled"):
        faults.append(
            "cluster mode is on: a job has keys in several slots, so that every call fails"
        )
    if info.get("role") == "slave":
        faults.append("it is a read-only replica: give the address of the primary")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        faults.append(f"maxmemory-policy is {policy}: set noeviction, or waiting jobs are deleted")
    return faults


def _lacking(denied: Sequence[str]) -> Faults:
    return [f"the user may not run {', '.join(denied)}"] if denied else []


def _denied(client: redis.Redis, calls: Sequence[Sequence[Any]]) -> list[str]:
    """The commands that the user may not run, or not on these keys."""
    pipeline: Any
    with client.pipeline(transaction=False) as pipeline:
        for call in calls:
            pipeline.execute_command(*call)
        replies = pipeline.execute(raise_on_error=False)
    denied = (
        str(call[0])
        for call, reply in zip(calls, replies, strict=True)
        if isinstance(reply, redis.exceptions.NoPermissionError)
        or (isinstance(reply, redis.exceptions.ExecAbortError) and "NOPERM" in str(reply))
    )
    return list(dict.fromkeys(denied))


def queue_calls() -> list[Sequence[Any]]:
    """One call of each command that the queues need, on scratch keys."""
    text, items, fields, members, scores = (f"rq:check:{uuid.uuid4().hex}" for _ in range(5))
    calls: list[Sequence[Any]] = [
        ("SET", text, "1", "EX", SCRATCH_S),
        ("PERSIST", text),
        ("EXISTS", text),
        ("RPUSH", items, "a", "b"),
        ("LPUSH", items, "c"),
        ("LLEN", items),
        ("LINDEX", items, 0),
        ("LRANGE", items, 0, -1),
        ("LREM", items, 1, "none"),
        ("BLMOVE", items, items, "LEFT", "LEFT", 0.01),
        ("LPOP", items),
        ("HSET", fields, "name", "1"),
        ("HGET", fields, "name"),
        ("HMGET", fields, "name"),
        ("HGETALL", fields),
        ("HEXISTS", fields, "name"),
        ("HINCRBY", fields, "name", 1),
        ("SADD", members, "a"),
        ("SCARD", members),
        ("SMEMBERS", members),
        ("SREM", members, "none"),
        ("ZADD", scores, 1, "a"),
        ("ZCARD", scores),
        ("ZSCORE", scores, "a"),
        ("ZMSCORE", scores, "a"),
        ("ZRANGE", scores, 0, -1),
        ("ZRANGEBYSCORE", scores, 0, 1),
        ("ZREM", scores, "none"),
        ("ZREMRANGEBYSCORE", scores, 5, 6),
        *(("EXPIRE", key, SCRATCH_S) for key in (text, items, fields, members, scores)),
        ("UNLINK", text, items),
        ("DEL", fields, members, scores),
        ("TIME",),
        ("SCRIPT LOAD", SCRIPT),
        ("SCRIPT EXISTS", "0" * 40),
        ("EVAL", SCRIPT, 0),
        ("EVALSHA", "0" * 40, 0),
        ("MULTI",),
        ("EXEC",),
    ]
    return calls
