"""Whether an executed order costs more when many others wait."""

import time
from datetime import UTC, datetime

import redis
from rq.suspension import WORKERS_SUSPENDED

from bench.rivals import Engine, cpu, settled
from bench.table import Figures
from bench.work import ENDED, count
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.messages.hints import ORDER_QUEUE, order_hint
from rq_slots.enqueue import QUEUE_PREFIX, enqueue
from support.evidence import rows
from support.fleet import DISPATCHERS, INSTANT
from support.stores import execute
from support.waiting import wait_until

BACKLOGS = (1_000, 20_000, 200_000)
DRAINED = 1_000
SLOTS = 50
DRAIN_TIMEOUT_S = 60.0
HINTS_TOGETHER = 1_000
ORDERS = QUEUE_PREFIX + ORDER_QUEUE

# The limit lets exactly DRAINED orders start within its minute, so that every backlog drains alike.
SETTINGS = INSTANT | {
    "QUEUE_MAX_CONCURRENCY": str(SLOTS),
    "QUEUE_RATE_LIMIT_PER_MINUTE": str(DRAINED),
}
WAITING = """
INSERT INTO orders (id, token_in, token_out, amount_in, slippage_tolerance, created_at)
SELECT gen_random_uuid(), 'SOL', 'USDC', 1, 0.5, now() - make_interval(secs => ({count} - n) / 1e4)
FROM generate_series(1, {count}) AS n;
INSERT INTO order_events (order_id, seq, status, cause, occurred_at)
SELECT id, 1, 'pending', 'placed', created_at FROM orders
"""
# What the server would do in its own time must not fall into the measurement.
SETTLE = ("VACUUM ANALYZE orders", "VACUUM ANALYZE order_events", "CHECKPOINT")


def growth(engine: Engine) -> Figures:
    """CPU of an executed order for each backlog, and each backlog's in relation to the smallest."""
    cpu_ms = {backlog: drain_cpu_ms(engine, backlog) for backlog in BACKLOGS}
    smallest, *others = BACKLOGS
    return {
        **{f"CPU ms, {backlog:,} wait": cpu_ms[backlog] for backlog in BACKLOGS},
        **{f"{backlog:,} / {smallest:,}": cpu_ms[backlog] / cpu_ms[smallest] for backlog in others},
    }


def drain_cpu_ms(engine: Engine, backlog: int) -> float:
    """CPU of an order, in ms, without that of the simulated chain."""
    engine.reset()
    fill(engine, backlog)
    with engine.servers.client() as client:
        client.set(WORKERS_SUSPENDED, 1)  # as `rq suspend`: the processes start first
        engine.start_only(("order-worker", *DISPATCHERS), SETTINGS)
        settled(engine)
        before = cpu(engine)
        client.delete(WORKERS_SUSPENDED)
        wait_until(  # by Redis: to count orders in PostgreSQL takes longer the more there are
            lambda: client.llen(ORDERS) <= backlog - DRAINED,
            timeout_s=DRAIN_TIMEOUT_S,
            what=f"{DRAINED} of {backlog} orders started",
        )
        settled(engine)
        used = cpu(engine) - before
    if (ended := count(engine, ENDED)) != DRAINED:
        raise SystemExit(f"{ended} of {backlog} orders have ended, not {DRAINED}")
    engine.stop()
    return used.without_chain * 1000 / DRAINED


def fill(engine: Engine, backlog: int) -> None:
    """Writes waiting orders and their hints to both stores, as the intake leaves them."""
    execute(engine.database_url, WAITING.format(count=backlog))
    for statement in SETTLE:
        execute(engine.database_url, statement)
    orders = rows(engine.database_url, "SELECT id, created_at FROM orders ORDER BY created_at")
    with engine.servers.client() as client:
        for first in range(0, backlog, HINTS_TOGETHER):
            hints = [
                order_hint(OrderId(order["id"]), created_at=order["created_at"])
                for order in orders[first : first + HINTS_TOGETHER]
            ]
            enqueue(client, hints, now=datetime.fromtimestamp(time.time(), UTC))
        wait_until(lambda: not _rewrites_log(client), timeout_s=60, what="Redis at rest")


def _rewrites_log(client: redis.Redis) -> bool:
    state = client.info("persistence")
    return bool(state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"])
