"""How fast jobs pass: our worker, RQ's SimpleWorker and a BullMQ worker in turns, on one Redis.

    make bench-worker

Ends with 1 below the mark: SlotWorker at least 50 times SimpleWorker and ahead of BullMQ, bulk
enqueue ahead of addBulk. Figures of one machine and hour are worth their ratios only.
"""

import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import redis
import uvloop
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from order_engine.execution.stores.redis_clients import redis_client
from rq_slots.enqueue import NewJob, enqueue
from rq_slots.rate_window import RateWindow
from rq_slots.slots import Slots
from rq_slots.worker import SlotWorker
from support.redis_process import RedisProcess, redis_process

ROUNDS = 5
JOBS = 20_000
STOCK_JOBS = 400
SLOTS = 50
MARK_AGAINST_RQ = 50.0
MARK_AGAINST_BULLMQ = 1.0
BULLMQ = Path(__file__).parent / "bullmq"


def noop(n: int) -> None:
    """The job of every worker here."""


def ours(server: RedisProcess) -> tuple[float, float]:
    """Jobs enqueued and worked off per second, by the engine's own code."""
    client = redis_client(server.url)
    client.flushall()
    now = datetime.fromtimestamp(time.time(), UTC)
    began = time.perf_counter()
    for first in range(0, JOBS, 500):
        enqueue(client, [_hint(n, now) for n in range(first, first + 500)], now=now)
    enqueued_s = time.perf_counter() - began
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        worked_s = runner.run(_work_off(client))
    return JOBS / enqueued_s, JOBS / worked_s


async def _work_off(client: redis.Redis) -> float:
    ran = 0
    stop = asyncio.Event()
    done = asyncio.Event()

    async def count(n: int) -> None:
        nonlocal ran
        ran += 1
        if ran == JOBS:
            done.set()

    worker = SlotWorker(
        "bench",
        client=client,
        functions={"bench_worker.noop": count},
        slots=Slots(SLOTS),
        window=RateWindow(client, key="starts", limit=0),
        hint_prefix="j-",
    )
    began = time.perf_counter()
    working = asyncio.create_task(worker.run(stop))
    await done.wait()
    worked_s = time.perf_counter() - began
    stop.set()
    await working
    await worker.drain(timeout_s=5)
    return worked_s


def _hint(n: int, now: datetime) -> NewJob:
    return NewJob(
        queue="bench",
        job_id=f"j-{n}",
        function="bench_worker.noop",
        arguments=(n,),
        created_at=now,
        failure_ttl_s=30,
        meta={"created_at": now.timestamp()},
    )


def stock(server: RedisProcess) -> float:
    """Jobs worked off per second by RQ's SimpleWorker, the fastest that RQ has."""
    client = redis.Redis.from_url(server.url)
    client.flushall()
    queue = Queue("bench", connection=client, serializer=JSONSerializer)
    queue.enqueue_many(
        [Queue.prepare_data("bench_worker.noop", (n,), result_ttl=0) for n in range(STOCK_JOBS)]
    )
    worker = SimpleWorker([queue], connection=client, serializer=JSONSerializer)
    began = time.perf_counter()
    worker.work(burst=True, logging_level="ERROR")
    return STOCK_JOBS / (time.perf_counter() - began)


def bullmq(server: RedisProcess) -> tuple[float, float]:
    with server.client() as client:
        client.flushall()
    command = ["node", "bench.mjs", str(server.port), str(JOBS), str(SLOTS)]
    done = subprocess.run(
        command, cwd=BULLMQ, capture_output=True, text=True, check=True, timeout=300
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    return figures["enqueued_per_s"], figures["worked_per_s"]


def install_bullmq() -> None:
    if not (BULLMQ / "node_modules" / "bullmq").exists():
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit("Node.js with npm is needed: the benchmark compares with BullMQ")
        subprocess.run(
            [npm, "install", "--silent", "--no-package-lock", "--no-audit", "--no-fund"],
            cwd=BULLMQ,
            check=True,
        )


def main() -> int:
    install_bullmq()
    sys.path.insert(0, str(Path(__file__).parent))  # RQ imports its jobs by name
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as directory, redis_process(Path(directory)) as server:
        for n in range(ROUNDS):
            our_enqueue, our_work = ours(server)
            their_enqueue, their_work = bullmq(server)
            figures = {
                "slot_worker": our_work,
                "bullmq": their_work,
                "simple_worker": stock(server),
                "bulk_enqueue": our_enqueue,
                "add_bulk": their_enqueue,
            }
            rounds.append(figures)
            print(f"round {n + 1}: " + "  ".join(f"{k} {v:,.0f}/s" for k, v in figures.items()))
    return verdict(rounds)


def verdict(rounds: list[dict[str, float]]) -> int:
    marks: list[tuple[str, Callable[[dict[str, float]], float], float]] = [
        (
            "SlotWorker / SimpleWorker",
            lambda r: r["slot_worker"] / r["simple_worker"],
            MARK_AGAINST_RQ,
        ),
        (
            "SlotWorker / BullMQ worker",
            lambda r: r["slot_worker"] / r["bullmq"],
            MARK_AGAINST_BULLMQ,
        ),
        (
            "bulk enqueue / addBulk",
            lambda r: r["bulk_enqueue"] / r["add_bulk"],
            MARK_AGAINST_BULLMQ,
        ),
    ]
    below = 0
    for name, ratio, mark in marks:
        ratios = sorted(ratio(figures) for figures in rounds)
        median = statistics.median(ratios)
        below += median <= mark
        word = "ok" if median > mark else "BELOW THE MARK"
        print(
            f"{name}: median {median:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}), mark {mark:g}: {word}"
        )
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
