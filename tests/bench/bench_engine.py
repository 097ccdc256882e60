"""The engine beside its Node peer or a plain server, in turns in one run, on one PostgreSQL and Redis.

    make bench
    make bench WORK=intake

Prints a table with minimum, median and maximum of each figure, and the ratio of the medians. Ends
with 1 when a target is missed. Without the peer, its medians of an earlier run on another machine
stand in, and no target is judged by them. Figures of one machine and hour are worth their ratios only.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from bench import start
from bench.growth import growth
from bench.peer import PEER, Peer
from bench.rivals import Engine, Rival, running_servers
from bench.sockets import engine_sockets, plain_sockets
from bench.table import Figures, Measured, Row, Target, bound, ratio, report
from bench.work import delivery, drain, idle, intake, trickle


def intake_row(connections: int, *, cpu_target: Target, rate: Target) -> Row:
    def run(rival: Rival) -> Figures:
        return intake(rival, connections)

    return Row(
        name=f"intake, {connections} connections",
        work="intake",
        run=run,
        peer=run,
        targets=(cpu_target, rate, ratio("p99 ms", 1, 0.7)),
    )


def delivery_row(rate: int) -> Row:
    def run(rival: Rival) -> Figures:
        return delivery(rival, rate)

    return Row(
        name=f"commit to frame, {rate} orders/s",
        work="delivery",
        run=run,
        peer=run,
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
        peer=drain,
        targets=(ratio("CPU ms", 0.75, 0.45), ratio("orders/s", 1.2, 2, more=True)),
    ),
    Row(
        name="orders one by one",
        work="trickle",
        run=trickle,
        peer=trickle,
        targets=(ratio("CPU ms", 0.5, 0.5),),
    ),
    delivery_row(50),
    delivery_row(200),
    Row(
        name="idle",
        work="idle",
        run=idle,
        peer=idle,
        targets=(
            bound("% of a core", 1.5, 0.5),
            bound("commands/s", 40, 15),
            bound("MB", 420, 420),
        ),
        repeats=1,
    ),
    Row(
        name="10,000 sockets, 100 to an order",
        work="sockets",
        run=engine_sockets,
        plain=plain_sockets,
        targets=(ratio("frames/s of a core", 0.8, 1, more=True), ratio("KB of a socket", 1.25, 1)),
    ),
    Row(
        name="1,000 of many waiting orders, 50 slots",
        work="growth",
        run=growth,
        targets=(bound("20,000 / 1,000", 1.2, 1.05), bound("200,000 / 1,000", 1.2, 1.05)),
    ),
    Row(
        name="start of a process",
        work="start",
        run=start.processes,
        targets=[bound(f"{name} s", 2, 1) for name in start.KINDS],
    ),
    Row(
        name="start of all",
        work="start",
        run=start.whole_engine,
        targets=(bound("make run s", 10, 5),),
    ),
)


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
        engine, peer = Engine(servers, Path(name)), None
        if not PEER.exists():
            print(
                f"no peer at {PEER}: medians recorded on another machine and hour stand in for it,"
                " and no target is judged by them"
            )
        elif given.only is None and any(row.peer for row in wanted):
            peer = Peer(servers, Path(name))
        print("| work | figure | engine: min / median / max | peer or plain | ratio | target |")
        print("| --- | --- | --- | --- | --- | --- |", flush=True)
        for row in wanted:
            began = time.perf_counter()
            measured = measure(row, engine, peer, given)
            met.append(report(row, measured))
            print(f"{row.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return 0 if all(met) else 1


def measure(row: Row, engine: Engine, peer: Peer | None, given: argparse.Namespace) -> Measured:
    measured = Measured()
    for _ in range(given.repeats or row.repeats):
        for rival, run in turns(row, engine, peer, alone=given.only is not None).items():
            try:
                measured.add(rival, run())
            finally:
                engine.stop()
                if peer is not None:
                    peer.stop()
    return measured


def turns(
    row: Row, engine: Engine, peer: Peer | None, *, alone: bool
) -> Mapping[str, Callable[[], Figures]]:
    """The runs of one repeat, in order, by rival."""
    runs: dict[str, Callable[[], Figures]] = {}
    if row.peer is not None and peer is not None:
        runs["peer"] = partial(row.peer, peer)
    if row.plain is not None and not alone:
        runs["plain"] = row.plain
    return {**runs, "engine": partial(row.run, engine)}


if __name__ == "__main__":
    sys.exit(main())
