"""The work that the engine and its peer both do, one function for each kind of row."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from bench.cpu import resident_bytes, tree_cpu_s
from bench.rivals import Rival, cpu, load, settled
from bench.table import Figures
from support.evidence import rows
from support.stores import execute

INTAKE_S = 5.0
DRAIN_ORDERS = 5_000
DRAIN_SLOTS = 50
TRICKLE_ORDERS = 1_000
DELIVERY_S = 12
DELIVERY_SLOTS = {50: 250, 200: 800}
IDLE_S = 10.0
DRAIN_TIMEOUT_S = 180.0

AUDIT = """
DROP TABLE IF EXISTS bench_audit CASCADE;
CREATE UNLOGGED TABLE bench_audit (id bigserial, order_id text, status text, x xid);
CREATE OR REPLACE FUNCTION bench_audit() RETURNS trigger LANGUAGE plpgsql AS $f$
BEGIN
  IF TG_OP = 'INSERT' OR OLD.status <> NEW.status THEN
    INSERT INTO bench_audit (order_id, status, x)
    VALUES (NEW.{id}::text, lower(NEW.status), pg_current_xact_id()::xid);
  END IF;
  RETURN NULL;
END $f$;
CREATE OR REPLACE TRIGGER bench_audit AFTER INSERT OR UPDATE ON orders
FOR EACH ROW EXECUTE FUNCTION bench_audit();
"""
COMMITS = """
SELECT order_id, status, extract(epoch FROM pg_xact_commit_timestamp(x))::double precision AS at
FROM bench_audit ORDER BY id
"""
ENDED = "SELECT count(*) AS n FROM orders WHERE status IN ('confirmed', 'failed')"
STARTED = "SELECT count(*) AS n FROM orders WHERE status <> 'pending'"


def count(rival: Rival, sql: str) -> int:
    return int(rows(rival.database_url, sql)[0]["n"])


def percentile(values: Sequence[float], share: float) -> float:
    ordered: list[float] = sorted(values)
    return ordered[min(int(share * len(values)), len(values) - 1)]


def intake(rival: Rival, connections: int) -> Figures:
    rival.reset()
    rival.start(intake_only=True)
    before, after = cpu(rival), cpu(rival)

    def during(line: str) -> None:
        nonlocal before, after
        if line == "measuring":
            before = cpu(rival)
        else:
            after = cpu(rival)

    found = load(
        *("post", "--url", rival.url, "--connections", connections, "--seconds", INTAKE_S),
        during=during,
    )
    rival.stop()
    used, orders = after - before, found["orders"]
    return {
        "accepted/s": orders / found["seconds"],
        "p99 ms": percentile(found["ms"], 0.99),
        "CPU ms": used.total * 1000 / orders,
        "of it app": used.app * 1000 / orders,
        "of it PostgreSQL": used.postgres * 1000 / orders,
        "of it Redis": used.redis * 1000 / orders,
    }


def boot_cpu_s(rival: Rival) -> float:
    rival.reset()
    rival.start(instant=True, slots=DRAIN_SLOTS)
    time.sleep(1)
    used = tree_cpu_s(rival.pids)
    rival.stop()
    return used


def drain(rival: Rival) -> Figures:
    boot_s = boot_cpu_s(rival)
    rival.reset()
    rival.start(intake_only=True)
    load("post", "--url", rival.url, "--connections", 16, "--orders", DRAIN_ORDERS)
    rival.stop()
    before = cpu(rival)
    rival.start(instant=True, slots=DRAIN_SLOTS)
    began, first = time.perf_counter(), count(rival, STARTED)
    while (ended := count(rival, ENDED)) < DRAIN_ORDERS:
        if not first:
            began, first = time.perf_counter(), count(rival, STARTED)
        if time.perf_counter() - began > DRAIN_TIMEOUT_S:
            raise SystemExit(f"{rival.name}: only {ended} of {DRAIN_ORDERS} orders have ended")
        time.sleep(0.05)
    lasted = time.perf_counter() - began
    settled(rival)
    used = cpu(rival) - before
    rival.stop()
    per = 1000 / DRAIN_ORDERS
    return {
        "orders/s": (DRAIN_ORDERS - first) / lasted,
        "CPU ms": (used.without_chain - boot_s) * per,
        "of it app": (used.app - boot_s) * per,
        "of it PostgreSQL": used.postgres * per,
        "of it Redis": used.redis * per,
        "chain apart": used.chain * per,
    }


def trickle(rival: Rival) -> Figures:
    """One client that sends an order once the last one was accepted."""
    rival.reset()
    rival.start(instant=True, slots=DRAIN_SLOTS)
    settled(rival)
    before = cpu(rival)
    load("post", "--url", rival.url, "--connections", 1, "--orders", TRICKLE_ORDERS)
    while count(rival, ENDED) < TRICKLE_ORDERS:
        time.sleep(0.05)
    settled(rival)
    used = cpu(rival) - before
    rival.stop()
    return {"CPU ms": used.without_chain * 1000 / TRICKLE_ORDERS}


def delivery(rival: Rival, rate: int) -> Figures:
    rival.reset()
    rival.start(slots=DELIVERY_SLOTS[rate])
    execute(rival.database_url, AUDIT.format(id=rival.id_column))
    found = load(
        *("follow", "--url", rival.url, "--streams", rival.streams_url),
        *("--orders", rate * DELIVERY_S, "--rate", rate),
    )
    commits: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for row in rows(rival.database_url, COMMITS):
        commits[row["order_id"]].append((row["status"], row["at"]))
    rival.stop()
    return delivery_figures(found["orders"], commits)


RANK = {"pending": 0, "routing": 1, "building": 2, "submitted": 3, "confirmed": 4, "failed": 4}


def delivery_figures(
    followed: Sequence[Mapping[str, Any]], commits: Mapping[str, Sequence[tuple[str, float]]]
) -> Figures:
    took: list[float] = []
    disordered = missed = doubled = 0
    for order in followed:
        read: dict[str, list[float]] = defaultdict(list)
        highest = -1
        for at, _, status in order["frames"]:
            read[status].append(at)
            disordered += RANK[status] < highest
            highest = max(highest, RANK[status])
        for status, at in commits[order["id"]]:
            if at <= order["opened_at"]:
                continue
            missed += not read[status]
            doubled += max(len(read[status]) - 1, 0)
            if read[status]:
                took.append((read[status][0] - at) * 1000)
    return {
        "p50 ms": percentile(took, 0.5),
        "p99 ms": percentile(took, 0.99),
        "out of order": disordered,
        "missed": missed,
        "doubled": doubled,
    }


def idle(rival: Rival) -> Figures:
    rival.reset()
    rival.start()
    settled(rival)
    time.sleep(2)
    before, commands, began = cpu(rival), rival.servers.commands(), time.perf_counter()
    time.sleep(IDLE_S)
    lasted = time.perf_counter() - began
    used, sent = cpu(rival) - before, rival.servers.commands() - commands
    memory = resident_bytes(rival.pids)
    rival.stop()
    return {
        "% of a core": used.app * 100 / lasted,
        "with servers": used.total * 100 / lasted,
        "commands/s": (sent - 2) / lasted,
        "MB": memory / 1e6,
    }
