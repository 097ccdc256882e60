"""Hints are taken in batches, each at most once, whatever the queue holds."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from prometheus_client import REGISTRY
from rq import Worker

from rq_slots.enqueue import NewJob
from rq_slots.enqueue import enqueue as enqueue_jobs
from rq_slots.hint_consumer import HintConsumer
from support.redis_process import redis_process
from support.rq import QUEUE, WORK, redis_at, sample
from support.waiting import wait_until

LIST = f"rq:queue:{QUEUE}"
DEADLINE_S = 10


class Recorder:
    """Records the batches that it is given; fails for those that contain `fail`."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []

    def __call__(self, hints: Sequence[Sequence[Any]]) -> None:
        self.batches.append([arguments[0] for arguments in hints])
        if "fail" in self.batches[-1]:
            raise RuntimeError("as requested")

    @property
    def ids(self) -> list[Any]:
        return [one for batch in self.batches for one in batch]


def a_consumer(client: redis.Redis, deliver: Recorder, **options: Any) -> HintConsumer:
    settings: dict[str, Any] = {"batch_max": 50, "limit": 0, "stale_after_s": 5}
    return HintConsumer(QUEUE, client=client, function=WORK, deliver=deliver, **settings | options)


@contextmanager
def running(consumer: HintConsumer) -> Iterator[HintConsumer]:
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        yield consumer
    finally:
        consumer.stop()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def write(client: redis.Redis, *ids: str, age_s: float = 0, function: str = WORK) -> None:
    created_at = time.time() - age_s
    at = datetime.fromtimestamp(created_at, UTC)
    hints = [
        NewJob(
            queue=QUEUE,
            job_id=job_id,
            function=function,
            arguments=(job_id,),
            created_at=at,
            meta={"created_at": created_at},
        )
        for job_id in ids
    ]
    enqueue_jobs(client, hints, now=at)


def until(fact: Callable[[], object]) -> None:
    wait_until(fact, timeout_s=DEADLINE_S)


def delivered(client: redis.Redis, count: int, **options: Any) -> Recorder:
    """What a consumer delivers until `count` hints came and the queue is empty."""
    recorder = Recorder()
    with running(a_consumer(client, recorder, **options)):
        until(lambda: len(recorder.ids) == count and not client.exists(LIST))
    return recorder


def test_hints_are_delivered_in_order_and_leave_redis(client: redis.Redis) -> None:
    ids = [f"h-{n}" for n in range(120)]
    write(client, *ids)

    recorder = delivered(client, 120)

    assert recorder.ids == ids
    assert [len(batch) for batch in recorder.batches] == [50, 50, 20]
    assert client.keys("rq:job:*") == []


def test_a_hint_that_arrives_later_wakes_an_idle_consumer(client: redis.Redis) -> None:
    recorder = Recorder()
    with running(a_consumer(client, recorder)):
        for n in range(3):
            write(client, f"h-{n}")
            until(lambda: recorder.ids[-1:] == [f"h-{n}"])  # noqa: B023 - awaited at once

    assert recorder.ids == ["h-0", "h-1", "h-2"]


def test_each_of_two_consumers_takes_other_hints(client: redis.Redis, redis_url: str) -> None:
    ids = [f"h-{n}" for n in range(500)]
    recorder, other = Recorder(), Recorder()
    with (
        redis_at(redis_url) as second,
        running(a_consumer(client, recorder, batch_max=5)),
        running(a_consumer(second, other, batch_max=5)),
    ):
        write(client, *ids)
        until(lambda: len(recorder.ids) + len(other.ids) == 500)

    assert sorted(recorder.ids + other.ids) == sorted(ids)


def test_a_batch_that_is_not_delivered_does_not_stop_the_next(client: redis.Redis) -> None:
    before = sample("rq_slots_jobs_finished_total", outcome="failed")
    write(client, "fail", "h-1")

    assert delivered(client, 2, batch_max=1).ids == ["fail", "h-1"]
    assert sample("rq_slots_jobs_finished_total", outcome="failed") == before + 1


def test_every_series_begins_at_0(client: redis.Redis) -> None:
    HintConsumer("unused", client=client, function=WORK, deliver=Recorder(), batch_max=1, limit=0)

    for name in ("jobs_started", "jobs_stale", "jobs_quarantined"):
        assert REGISTRY.get_sample_value(f"rq_slots_{name}_total", {"queue": "unused"}) == 0


# Stale hints


def test_a_hint_much_older_than_the_newest_in_its_queue_is_dropped(client: redis.Redis) -> None:
    write(client, "old", age_s=60)
    write(client, "new")

    assert delivered(client, 1).ids == ["new"]
    assert client.keys("rq:job:*") == []


@pytest.mark.parametrize("skew_s", [-3600, -60, 60, 3600])
def test_no_hint_is_stale_because_the_clocks_differ(client: redis.Redis, skew_s: float) -> None:
    ids = [f"h-{n}" for n in range(20)]
    write(client, *ids, age_s=skew_s)

    assert delivered(client, 20).ids == ids


def test_a_forged_newest_hint_does_not_make_others_stale(client: redis.Redis) -> None:
    write(client, "fresh", age_s=1)
    write(client, "forged", age_s=-(10**6))

    assert delivered(client, 2).ids == ["fresh", "forged"]


# What the queue may hold


def test_a_hint_of_another_function_is_not_delivered(client: redis.Redis) -> None:
    before = sample("rq_slots_jobs_quarantined_total")
    write(client, "other", function="os.system")
    write(client, "mine")

    assert delivered(client, 1).ids == ["mine"]
    assert sample("rq_slots_jobs_quarantined_total") == before + 1


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda client: client.delete("rq:job:bad"), id="no hash"),
        pytest.param(lambda client: client.hdel("rq:job:bad", "data"), id="no data"),
        pytest.param(lambda client: client.hset("rq:job:bad", "data", "x"), id="no call"),
        pytest.param(
            lambda client: client.hset("rq:job:bad", "data", "x" * 100_000), id="too large"
        ),
        pytest.param(
            lambda client: (client.delete("rq:job:bad"), client.set("rq:job:bad", "text")),
            id="another type",
        ),
        pytest.param(lambda client: client.lset(LIST, 0, b"\xff:*"), id="no job id"),
    ],
)
def test_a_malformed_hint_is_dropped_and_counted(
    client: redis.Redis, spoil: Callable[[redis.Redis], object]
) -> None:
    before = sample("rq_slots_jobs_quarantined_total")
    write(client, "bad", "good")
    spoil(client)

    assert delivered(client, 1).ids == ["good"]
    assert sample("rq_slots_jobs_quarantined_total") == before + 1


@pytest.mark.parametrize("meta", ["", "text", "[]", '{"created_at":"x"}', '{"created_at":-1e300}'])
def test_a_forged_meta_loses_no_other_hint(client: redis.Redis, meta: str) -> None:
    write(client, "forged", "h-1")
    client.hset("rq:job:forged", "meta", meta)

    assert "h-1" in delivered(client, 1 if meta.endswith("300}") else 2).ids


def test_a_queue_of_another_type_makes_redis_unusable_until_it_is_gone(
    client: redis.Redis,
) -> None:
    client.set(LIST, "text")
    recorder = Recorder()
    with running(a_consumer(client, recorder)) as consumer:
        until(lambda: consumer.redis_is_unusable)
        client.delete(LIST)
        write(client, "h-1")
        until(lambda: recorder.ids == ["h-1"])

        until(lambda: not consumer.redis_is_unusable)


# Limits and outages


def test_the_limit_holds_within_one_process(client: redis.Redis) -> None:
    write(client, *(f"h-{n}" for n in range(10)))
    recorder = Recorder()
    with running(a_consumer(client, recorder, limit=4)):
        until(lambda: len(recorder.ids) == 4)
        write(client, "h-10")

    assert recorder.ids == ["h-0", "h-1", "h-2", "h-3"]
    assert client.llen(LIST) == 7


def test_a_suspended_consumer_takes_nothing(client: redis.Redis) -> None:
    client.set("rq:suspended", 1)
    write(client, "h-1")
    recorder = Recorder()
    with running(a_consumer(client, recorder)):
        assert recorder.ids == []
        assert client.llen(LIST) == 1
        client.delete("rq:suspended")
        until(lambda: recorder.ids == ["h-1"])


def test_it_goes_on_when_redis_is_back(tmp_path: Path) -> None:
    recorder = Recorder()
    with (
        redis_process(tmp_path) as server,
        redis_at(server.url) as client,
        running(a_consumer(client, recorder)) as consumer,
    ):
        until(lambda: client.exists("rq:workers"))
        server.kill()
        until(lambda: consumer.without_redis)
        server.start()
        until(lambda: not consumer.without_redis)
        write(client, "h-1")
        until(lambda: recorder.ids == ["h-1"])


def test_rqs_tools_list_the_consumer_while_it_runs(client: redis.Redis) -> None:
    with running(a_consumer(client, Recorder())):
        until(lambda: Worker.all(connection=client))
        [listed] = Worker.all(connection=client)

        assert listed.queue_names() == [QUEUE]
    assert Worker.all(connection=client) == []
