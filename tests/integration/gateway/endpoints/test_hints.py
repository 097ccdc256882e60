"""Hints: the jobs in Redis that the gateway writes for an order."""

import asyncio
import json
from datetime import UTC, datetime

import httpx2
import redis
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from order_engine.execution.messages.frames import timestamp
from order_engine.execution.messages.seals import SEAL_CHARS
from order_engine.execution.settings import GatewaySettings
from support.gateway_client import a_key, placed, post, run_alone


def test_a_placed_order_has_a_hint_for_workers_and_one_for_dispatchers(
    settings: GatewaySettings, redis_url: str
) -> None:
    ids: list[str] = []

    async def talk(http: httpx2.AsyncClient) -> None:
        ids.append(await placed(http))

    run_alone(settings, talk)
    [order_id] = ids
    [execution] = jobs(redis_url, "orders", of=ids)
    [publication] = jobs(redis_url, "order-status-pending", of=ids)

    assert execution.id == f"o-{order_id}"
    assert execution.func_name == "order_engine.order_worker.stock_rq_job.execute"
    assert execution.args == [order_id]
    assert publication.id == f"s-{order_id}-1"
    assert publication.func_name == "order_engine.status_dispatcher.stock_rq_job.publish"
    channel, message, committed_at = publication.args
    assert channel == order_id
    assert json.loads(message[SEAL_CHARS:]) == {
        "orderId": order_id,
        "seq": 1,
        "status": "pending",
        "timestamp": timestamp(datetime.fromtimestamp(committed_at, UTC)),
    }


def test_a_replay_writes_no_hint(settings: GatewaySettings, redis_url: str) -> None:
    ids: list[str] = []

    async def talk(http: httpx2.AsyncClient) -> None:
        key = a_key()
        answers = await asyncio.gather(*(post(http, key=key) for _ in range(5)))
        await post(http, key=key, amountIn="101")
        ids.append(answers[0].json()["orderId"])

    run_alone(settings, talk)

    assert len(jobs(redis_url, "orders", of=ids)) == 1
    assert len(jobs(redis_url, "order-status-pending", of=ids)) == 1


def test_a_cancelled_order_has_one_hint_for_the_dispatcher_of_failures(
    settings: GatewaySettings, redis_url: str
) -> None:
    ids: list[str] = []

    async def talk(http: httpx2.AsyncClient) -> None:
        ids.append(await placed(http))
        for _ in range(2):
            await http.post(f"/api/orders/{ids[0]}/cancel")

    run_alone(settings, talk)
    [publication] = jobs(redis_url, "order-status-failed", of=ids)

    _, message, _ = publication.args
    frame = json.loads(message[SEAL_CHARS:])
    assert (frame["seq"], frame["status"], frame["errorCode"]) == (2, "failed", "cancelled")


def test_hints_keep_the_order_of_placement(settings: GatewaySettings, redis_url: str) -> None:
    ids: list[str] = []

    async def talk(http: httpx2.AsyncClient) -> None:
        for _ in range(20):
            ids.append(await placed(http))

    run_alone(settings, talk)

    assert [job.args[0] for job in jobs(redis_url, "orders", of=ids)] == ids


def jobs(redis_url: str, queue: str, *, of: list[str]) -> list[Job]:
    """The queue's jobs for these orders, as a stock RQ worker would read them."""
    with redis.Redis.from_url(redis_url) as client:
        assert f"rq:queue:{queue}".encode() in client.smembers("rq:queues")
        found = [
            Job.fetch(job_id.decode(), connection=client, serializer=JSONSerializer)
            for job_id in client.lrange(f"rq:queue:{queue}", 0, -1)
            if any(order_id.encode() in job_id for order_id in of)
        ]
    assert {job.get_status(refresh=False) for job in found} == {JobStatus.QUEUED}
    assert {job.origin for job in found} == {queue}
    return found
