"""A job is always in exactly one place, and starts never exceed the window.

A worker is killed between any two of its calls: once when the next call is lost, and once when its
reply is lost. Then each job must be in one place or have ended, and a second worker must end all
jobs.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from rq_slots.rate_window import WINDOW_S, RateWindow
from support.cutting_proxy import Command, CuttingProxy, Loss, cutting_proxy
from support.rq import (
    FAILED,
    FIRST_SEEN,
    INTERMEDIATE,
    LIST,
    QUARANTINE,
    QUEUE,
    STARTED,
    WINDOW,
    WORK,
    claims_again,
    enqueue,
    places,
    queue_of,
    redis_at,
    scores,
    until,
    working,
)
from support.slot_work import FAILING, POSTPONED, WorkerLauncher, runs_in, worker_launcher
from support.waiting import wait_until

pytestmark = pytest.mark.fault

AN_HOUR_S = 3600
MALFORMED, LATE = 3, 4
PLACES_BEFORE_START = {"list", "intermediate", "quarantine"}
FINAL_PLACES = {"finished", "failed", "quarantine"}


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client with a long timeout, because Redis may be slow while other tests run."""
    with redis_at(redis_url, timeout_s=10) as client:
        yield client


@pytest.fixture(scope="module")
def launcher() -> Iterator[WorkerLauncher]:
    with worker_launcher() as launcher:
        yield launcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Jobs by number. `ends` has the final places of each job; a deleted job has none."""

    prefix: str
    enqueue: Callable[[redis.Redis, int], None]
    ends: dict[int, list[str]]

    def begin(self, client: redis.Redis) -> None:
        """Empties Redis and enqueues all jobs except the late one."""
        client.flushall()
        for n in self.ends.keys() - {LATE}:
            self.enqueue(client, n)
        if MALFORMED in self.ends:
            client.hdel(f"rq:job:{self.prefix}{MALFORMED}", "data")

    def locate(self, client: redis.Redis) -> dict[int, list[str]]:
        return {n: places(client, f"{self.prefix}{n}") for n in self.ends}

    def exists(self, client: redis.Redis, n: int) -> bool:
        return bool(client.exists(f"rq:job:{self.prefix}{n}"))


def enqueue_stock_job(client: redis.Redis, n: int) -> None:
    """Enqueues a job as a stock producer that needs the result does."""
    queue_of(client).enqueue(WORK, n, job_id=f"stock-{n}")


HINTS = Work(
    prefix="job-",
    enqueue=lambda client, n: enqueue(client, 1, n),
    ends={0: [], FAILING: ["failed"], POSTPONED: [], MALFORMED: ["quarantine"], LATE: []},
)
STOCK_JOBS = Work(
    prefix="stock-",
    enqueue=enqueue_stock_job,
    ends={0: ["finished"], FAILING: ["failed"], LATE: ["finished"]},
)


def at_call(number: int) -> Callable[[Command], bool]:
    """Matches the call after `number` others. The commands of a transaction count as one call."""
    counted = itertools.count()
    within = False

    def matches(command: Command) -> bool:
        nonlocal within
        if within and command[0] != b"EXEC":
            return False
        within = command[0] == b"MULTI"
        return next(counted) == number

    return matches


def at_wait(command: Command) -> bool:
    return command[0] == b"BLMOVE"


def after_wait(proxy: CuttingProxy) -> Callable[[Command], bool]:
    return lambda _: proxy.has_passed(b"BLMOVE")


def run_worker(
    client: redis.Redis,
    proxy: CuttingProxy,
    launcher: WorkerLauncher,
    work: Work,
    runs: Path,
    *,
    after_cut: int,
) -> None:
    """Runs a worker until all jobs have ended, or until `after_cut` waits for a job after the cut.

    The late job is enqueued when the worker first waits for a job.
    """
    is_late_enqueued = False
    waits_at_cut: int | None = None

    def is_done() -> bool:
        nonlocal is_late_enqueued, waits_at_cut
        waits = proxy.count_passed(b"BLMOVE")
        if waits and not is_late_enqueued:
            work.enqueue(client, LATE)
            is_late_enqueued = True
        if not proxy.was_cut.is_set():
            return is_late_enqueued and work.locate(client) == work.ends
        waits_at_cut = waits if waits_at_cut is None else waits_at_cut
        return waits >= waits_at_cut + after_cut

    with launcher.worker(proxy.url, runs):
        wait_until(is_done, timeout_s=20, what="the end of all jobs, or the cut")


def cuts(
    client: redis.Redis,
    redis_url: str,
    launcher: WorkerLauncher,
    work: Work,
    loss: Loss,
    directory: Path,
    *,
    after_cut: int = 0,
) -> Iterator[tuple[int, list[int]]]:
    """Cuts one call later each time; yields how many calls passed, and which jobs ran.

    The cut is permanent when `after_cut` is 0, otherwise it is a single loss.
    """
    for passed in itertools.count(-2):
        runs = directory / f"runs-{passed}"
        work.begin(client)
        with cutting_proxy(redis_url) as proxy:
            # the wait is cut by name, because calls of maintenance shift the numbers
            cut_by_name = {-2: at_wait, -1: after_wait(proxy)}
            proxy.cut(loss, cut_by_name.get(passed) or at_call(passed), for_good=after_cut == 0)
            run_worker(client, proxy, launcher, work, runs, after_cut=after_cut)
            if not proxy.was_cut.is_set():
                return
        yield passed, runs_in(runs)


def expire_everything(client: redis.Redis) -> None:
    """Expires all leases, waiting times and the lock of the last maintenance."""
    for key in (STARTED, QUARANTINE):
        for member, score in scores(client, key):
            client.zadd(key, {member: score - AN_HOUR_S})
    for entry in client.lrange(INTERMEDIATE, 0, -1):
        first_seen: dict[Any, Any] = {entry: client.time()[0] - 61}
        client.zadd(FIRST_SEEN, first_seen)
    client.delete(f"rq:maintenance:{QUEUE}")


def run_second_worker(client: redis.Redis, work: Work) -> list[int]:
    """Runs a worker until all jobs have ended, and returns the jobs that it ran."""
    ran: list[int] = []

    async def record(n: int) -> None:
        ran.append(n)

    def is_done() -> bool:
        return not any(set(found) - FINAL_PLACES for found in work.locate(client).values())

    async def run() -> None:
        async with working(client, record):
            await until(is_done, timeout_s=20)  # some jobs need a second round of maintenance

    asyncio.run(run())
    return sorted(ran)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("loss", Loss)
def test_killing_a_worker_neither_loses_nor_repeats_a_hint(
    client: redis.Redis, redis_url: str, launcher: WorkerLauncher, tmp_path: Path, loss: Loss
) -> None:
    seen: set[str] = set()

    for passed, ran in cuts(client, redis_url, launcher, HINTS, loss, tmp_path):
        located = HINTS.locate(client)
        for n, found in located.items():
            state = f"job {n} is in {found} after {passed} calls, ran: {ran}"
            assert len(found) == HINTS.exists(client, n), state
            assert found or n in ran or n == LATE, state
            assert ran.count(n) <= (0 if set(found) & PLACES_BEFORE_START else 1), state
            seen |= set(found)
        expire_everything(client)
        ran_later = run_second_worker(client, HINTS)

        waited = [n for n, found in located.items() if found == ["list"] and n != MALFORMED]
        assert ran_later == waited, f"{located} after {passed} calls"
        assert not any(HINTS.exists(client, n) for n in (0, POSTPONED, LATE))

    assert seen == {"list", "intermediate", "started", "failed", "quarantine"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("loss", Loss)
def test_killing_a_worker_loses_no_job_of_a_stock_producer(
    client: redis.Redis, redis_url: str, launcher: WorkerLauncher, tmp_path: Path, loss: Loss
) -> None:
    seen: set[str] = set()

    for passed, ran in cuts(client, redis_url, launcher, STOCK_JOBS, loss, tmp_path):
        located = STOCK_JOBS.locate(client)
        for n, found in located.items():
            state = f"job {n} is in {found} after {passed} calls, ran: {ran}"
            assert len(found) == STOCK_JOBS.exists(client, n), state
            assert found or n == LATE, state
            assert ran.count(n) <= (0 if set(found) & PLACES_BEFORE_START else 1), state
            seen |= set(found)
        expire_everything(client)
        ran_later = run_second_worker(client, STOCK_JOBS)

        waited = [n for n, found in located.items() if found == ["list"]]
        assert ran_later == waited, f"{located} after {passed} calls"
        for n, found in STOCK_JOBS.locate(client).items():
            assert len(found) == bool(located[n]), f"job {n} is in {found} after {passed} calls"

    assert seen == {"list", "intermediate", "started", "failed", "finished"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("loss", Loss)
def test_losing_a_call_neither_loses_nor_repeats_a_hint(
    client: redis.Redis, redis_url: str, launcher: WorkerLauncher, tmp_path: Path, loss: Loss
) -> None:
    """The worker continues, and requeues the jobs of its unanswered claims.

    A job that it moved while it waited may belong to another worker, so it is left to the sweep.
    """
    unanswered: set[str] = set()

    for passed, ran in cuts(client, redis_url, launcher, HINTS, loss, tmp_path, after_cut=2):
        for n, found in HINTS.locate(client).items():
            state = f"job {n} is in {found} after {passed} calls, ran: {ran}"
            is_unanswered = set(found) & {"intermediate"}
            assert len(found) == HINTS.exists(client, n), state
            assert is_unanswered or found == HINTS.ends[n], state
            assert ran.count(n) == (0 if is_unanswered or n == MALFORMED else 1), state
            unanswered |= is_unanswered

    assert unanswered == {"intermediate"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("loss", Loss)
def test_losing_a_call_loses_no_job_of_a_stock_producer(
    client: redis.Redis, redis_url: str, launcher: WorkerLauncher, tmp_path: Path, loss: Loss
) -> None:
    """The worker continues. RQ drops a failure that it cannot write: the job stays started."""
    for passed, ran in cuts(client, redis_url, launcher, STOCK_JOBS, loss, tmp_path, after_cut=2):
        for n, found in STOCK_JOBS.locate(client).items():
            state = f"job {n} is in {found} after {passed} calls, ran: {ran}"
            assert len(found) == 1, state
            assert found in (STOCK_JOBS.ends[n], ["started"], ["intermediate"]), state
            assert ran.count(n) == 1 or (found != STOCK_JOBS.ends[n] and n not in ran), state


@pytest.mark.parametrize("place", ["intermediate", "failed", "quarantine"])
@pytest.mark.parametrize(("age_s", "is_swept"), [(20, False), (31, True)])
def test_an_abandoned_hint_is_swept_from_every_place(
    client: redis.Redis, place: str, age_s: float, is_swept: bool
) -> None:
    """In the failed registry it is kept for its `failure_ttl` of 30 s."""
    since = client.time()[0] - age_s
    enqueue(client, 1)
    client.delete(LIST)
    if place == "intermediate":
        client.rpush(INTERMEDIATE, "job-0")
        client.zadd(FIRST_SEEN, {"job-0": since})
    elif place == "failed":
        client.zadd(FAILED, {"job-0": since + 30})
    else:
        client.zadd(QUARANTINE, {"job-0": since})

    async def work() -> None:
        async with working(client) as worker:
            await until(lambda: worker.last_claim)  # it sweeps before its first claim

    asyncio.run(work())

    assert places(client, "job-0") == ([] if is_swept else [place])
    assert client.exists("rq:job:job-0") == (not is_swept)


# The rate window


def expire_starts(client: redis.Redis, count: int) -> None:
    """Makes the oldest starts older than the window."""
    for member, at in scores(client, WINDOW)[:count]:
        client.zadd(WINDOW, {member: at - WINDOW_S})


def test_two_workers_start_one_job_for_each_start_that_expires(client: redis.Redis) -> None:
    limit, expiring = 10, (10, 1, 4, 10, 7, 8)
    started: list[int] = []
    clock = itertools.count(step=WINDOW_S)  # so that the count of a single worker never limits it

    async def record(n: int) -> None:
        started.append(n)

    async def work() -> None:
        enqueue(client, 5 * limit)
        async with (
            working(client, record, limit=limit, clock=clock.__next__) as first,
            working(client, record, limit=limit, clock=clock.__next__) as second,
        ):
            allowed = limit
            for expired in (0, *expiring):
                expire_starts(client, expired)
                allowed += expired
                await until(partial(_has_started, started, allowed))
                await claims_again(first)
                await claims_again(second)
                assert len(started) == allowed
                assert client.zcard(WINDOW) == limit

    asyncio.run(work())

    assert sorted(started) == list(range(5 * limit))


def test_starts_outside_the_queue_use_the_same_window(client: redis.Redis) -> None:
    limit = 10
    window = RateWindow(client, key=WINDOW, limit=limit, shared=True)
    started: list[int] = []

    async def record(n: int) -> None:
        started.append(n)

    async def work() -> None:
        window.merge_known_starts({})
        tokens = window.take(4)
        enqueue(client, 2 * limit)
        async with working(client, record, limit=limit) as worker:
            await until(lambda: len(started) == 6)
            await claims_again(worker)
            assert window.take(1) == []
            window.settle(tokens, started=["elsewhere"])
            await until(lambda: len(started) == 9)
            await claims_again(worker)

    asyncio.run(work())

    assert len(started) == 9
    assert client.zcard(WINDOW) == limit


def _has_started(started: list[int], most: int) -> bool:
    return len(started) >= most
