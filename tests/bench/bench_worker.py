"""Compares the throughput of SlotWorker, RQ's SimpleWorker and a BullMQ worker on one Redis.

    make bench-worker

Exits with 1 unless SlotWorker is more than 50 times as fast as SimpleWorker and faster than the
BullMQ worker, and bulk enqueue is faster than addBulk. The rates depend on the machine and its
load: only their ratios are meaningful.
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
SIMPLE_WORKER_JOBS = 400
SLOTS = 50
MIN_RATIO_TO_RQ = 50.0
MIN_RATIO_TO_BULLMQ = 1.0
BULLMQ = Path(__file__).parent / "bullmq"


def noop(n: int) -> None:
    """The job that each worker runs."""


def measure_slot_worker(server: RedisProcess) -> tuple[float, float]:
    """Jobs enqueued and executed per second by the engine's own code."""
    client = redis_client(server.url)
    client.flushall()
    now = datetime.fromtimestamp(time.time(), UTC)
    began = time.perf_counter()
    for first in range(0, JOBS, 500):
        enqueue(client, [_hint(n, now) for n in range(first, first + 500)], now=now)
    enqueued_s = time.perf_counter() - began
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        executed_s = runner.run(_run_jobs(client))
    return JOBS / enqueued_s, JOBS / executed_s


async def _run_jobs(client: redis.Redis) -> float:
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
    executed_s = time.perf_counter() - began
    stop.set()
    await working
    await worker.drain(timeout_s=5)
    return executed_s


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


def measure_simple_worker(server: RedisProcess) -> float:
    """Jobs executed per second by SimpleWorker, the fastest worker of RQ."""
    client = redis.Redis.from_url(server.url)
    client.flushall()
    queue = Queue("bench", connection=client, serializer=JSONSerializer)
    queue.enqueue_many(
        [
            Queue.prepare_data("bench_worker.noop", (n,), result_ttl=0)
            for n in range(SIMPLE_WORKER_JOBS)
        ]
    )
    worker = SimpleWorker([queue], connection=client, serializer=JSONSerializer)
    began = time.perf_counter()
    worker.work(burst=True, logging_level="ERROR")
    return SIMPLE_WORKER_JOBS / (time.perf_counter() - began)


def measure_bullmq(server: RedisProcess) -> tuple[float, float]:
    with server.client() as client:
        client.flushall()
    command = ["node", "bench.mjs", str(server.port), str(JOBS), str(SLOTS)]
    done = subprocess.run(
        command, cwd=BULLMQ, capture_output=True, text=True, check=True, timeout=300
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    return figures["enqueued_per_s"], figures["executed_per_s"]


def install_bullmq() -> None:
    if not (BULLMQ / "node_modules" / "bullmq").exists():
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit("the comparison with BullMQ needs Node.js with npm")
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
            bulk_enqueue, slot_worker = measure_slot_worker(server)
            add_bulk, bullmq_worker = measure_bullmq(server)
            figures = {
                "slot_worker": slot_worker,
                "bullmq": bullmq_worker,
                "simple_worker": measure_simple_worker(server),
                "bulk_enqueue": bulk_enqueue,
                "add_bulk": add_bulk,
            }
            rounds.append(figures)
            print(f"round {n + 1}: " + "  ".join(f"{k} {v:,.0f}/s" for k, v in figures.items()))
    return report(rounds)


def report(rounds: list[dict[str, float]]) -> int:
    comparisons: list[tuple[str, Callable[[dict[str, float]], float], float]] = [
        (
            "SlotWorker / SimpleWorker",
            lambda r: r["slot_worker"] / r["simple_worker"],
            MIN_RATIO_TO_RQ,
        ),
        (
            "SlotWorker / BullMQ worker",
            lambda r: r["slot_worker"] / r["bullmq"],
            MIN_RATIO_TO_BULLMQ,
        ),
        (
            "bulk enqueue / addBulk",
            lambda r: r["bulk_enqueue"] / r["add_bulk"],
            MIN_RATIO_TO_BULLMQ,
        ),
    ]
    below = 0
    for name, ratio, minimum in comparisons:
        ratios = sorted(ratio(figures) for figures in rounds)
        median = statistics.median(ratios)
        below += median <= minimum
        result = "ok" if median > minimum else "BELOW THE MINIMUM"
        print(
            f"{name}: median {median:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}),"
            f" minimum {minimum:g}: {result}"
        )
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
