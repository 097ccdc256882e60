"""The engine beside its Node peer, in one run, in turns, on one PostgreSQL and one Redis.

    make bench
    make bench WORK=intake

Prints a table with minimum, median and maximum of each figure, and the ratio engine / peer of the
medians. Ends with 1 when a ratio misses its target. Figures of one machine and hour are worth their
ratios only.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cpu import resident_bytes, tree_cpu_s
from bench.rivals import PEER, Engine, Peer, Rival, cpu, load, running_servers, settled
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

Figures = dict[str, float]

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


# Work


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


# The table


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`must` bounds the ratio engine / peer, or the engine's own figure if `absolute`."""

    figure: str
    must: float
    aim: float
    more_is_better: bool = False
    absolute: bool = False

    def is_met(self, value: float) -> bool:
        return value >= self.must if self.more_is_better else value <= self.must


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    work: str
    run: Callable[[Rival], Figures]
    targets: Sequence[Target]
    beside_peer: bool = True
    repeats: int = 3


def ratio(figure: str, must: float, aim: float, *, more: bool = False) -> Target:
    return Target(figure=figure, must=must, aim=aim, more_is_better=more)


def bound(figure: str, must: float, aim: float) -> Target:
    return Target(figure=figure, must=must, aim=aim, absolute=True)


def intake_row(connections: int, *, cpu_target: Target, rate: Target) -> Row:
    return Row(
        name=f"intake, {connections} connections",
        work="intake",
        run=lambda rival: intake(rival, connections),
        targets=(cpu_target, rate, ratio("p99 ms", 1, 0.7)),
    )


def delivery_row(rate: int) -> Row:
    return Row(
        name=f"commit to frame, {rate} orders/s",
        work="delivery",
        run=lambda rival: delivery(rival, rate),
        targets=(
            ratio("p50 ms", 1, 0.7),
            ratio("p99 ms", 1, 1),
            *(bound(name, 0, 0) for name in ("out of order", "missed", "doubled")),
        ),
    )


ROWS = (
    intake_row(1, cpu_target=ratio("CPU ms", 1, 0.8), rate=ratio("accepted/s", 1, 1.5, more=True)),
    intake_row(
        16, cpu_target=ratio("CPU ms", 0.75, 0.5), rate=ratio("accepted/s", 1.2, 1.5, more=True)
    ),
    intake_row(
        64, cpu_target=ratio("CPU ms", 0.75, 0.5), rate=ratio("accepted/s", 1.2, 1.5, more=True)
    ),
    Row(
        name="5,000 preloaded orders, 50 slots",
        work="drain",
        run=drain,
        targets=(ratio("CPU ms", 0.75, 0.45), ratio("orders/s", 1.2, 2, more=True)),
    ),
    Row(
        name="orders one by one", work="trickle", run=trickle, targets=(ratio("CPU ms", 0.5, 0.5),)
    ),
    delivery_row(50),
    delivery_row(200),
    Row(
        name="idle",
        work="idle",
        run=idle,
        targets=(
            bound("% of a core", 1.5, 0.5),
            bound("commands/s", 40, 15),
            bound("MB", 420, 420),
        ),
        repeats=1,
    ),
)


@dataclass(slots=True)
class Measured:
    """Every figure of one row, by rival."""

    figures: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, rival: str, figures: Figures) -> None:
        for name, value in figures.items():
            self.figures[rival][name].append(value)

    def median(self, rival: str, figure: str) -> float:
        return statistics.median(self.figures[rival][figure])

    def spread(self, rival: str, figure: str) -> str:
        values = self.figures[rival].get(figure)
        if not values:
            return ""
        return " / ".join(
            f"{value:.4g}" for value in (min(values), statistics.median(values), max(values))
        )


def report(row: Row, measured: Measured) -> bool:
    """Prints the lines of a row; whether every target is met."""
    targets = {target.figure: target for target in row.targets}
    all_met = True
    for figure in measured.figures["engine"]:
        line = [row.name, figure, *(measured.spread(r, figure) for r in ("engine", "peer"))]
        value = measured.median("engine", figure)
        peer = measured.median("peer", figure) if figure in measured.figures["peer"] else 0.0
        line.append(f"{value / peer:.2f}" if peer else "")
        if target := targets.get(figure):
            line.append(f"{'>=' if target.more_is_better else '<='} {target.must:g}")
            if target.absolute or peer:
                is_met = target.is_met(value if target.absolute else value / peer)
                all_met = all_met and is_met
                line[-1] += " met" if is_met else " MISSED"
        else:
            line.append("")
        print(f"| {' | '.join(line)} |", flush=True)
    return all_met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", default="")
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--only", choices=["engine"], default=None)
    given = parser.parse_args()
    wanted = [row for row in ROWS if not given.work or row.work == given.work]
    if not wanted:
        raise SystemExit(f"WORK must be one of {sorted({row.work for row in ROWS})}")
    met = []
    with tempfile.TemporaryDirectory() as name, running_servers(Path(name)) as servers:
        rivals: list[Rival] = [Engine(servers, Path(name))]
        if given.only is None and not PEER.exists():
            print(f"no peer at {PEER}: only the engine is measured, without ratios")
        elif given.only is None:
            rivals.insert(0, Peer(servers, Path(name)))
        print("| work | figure | engine: min / median / max | peer | engine / peer | target |")
        print("| --- | --- | --- | --- | --- | --- |", flush=True)
        for row in wanted:
            measured = Measured()
            for _ in range(given.repeats or row.repeats):
                for rival in rivals:
                    try:
                        measured.add(rival.name, row.run(rival))
                    finally:
                        rival.stop()
            met.append(report(row, measured))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
