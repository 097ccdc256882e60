"""10,000 sockets of one ws-gateway, and the same of a plain server on the `websockets` library.

Many sockets follow the same order. The frames are the product's: sealed, through Redis pub/sub, and
with the next seq of an order in PostgreSQL. The plain server broadcasts the same texts.
"""

import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from websockets.sync.client import connect

from bench.cpu import resident_bytes, tree_cpu_s
from bench.plain_broadcast import PUBLISH
from bench.rivals import Engine
from bench.table import Figures
from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.frames import frame_text
from order_engine.execution.messages.publisher import Publisher
from support.evidence import rows
from support.ports import free_port
from support.stores import execute
from support.streaming import read_seal

TESTS = Path(__file__).resolve().parents[1]

ORDERS = 100
SOCKETS_EACH = 100  # of one order
FEW_SOCKETS, ALL_SOCKETS = 2_000, ORDERS * SOCKETS_EACH
ROUNDS = 10  # each publishes one frame of every order
ANSWER_TIMEOUT_S = 60.0

WAITING = f"""
INSERT INTO orders (id, token_in, token_out, amount_in, slippage_tolerance)
SELECT gen_random_uuid(), 'SOL', 'USDC', 1, 0.5 FROM generate_series(1, {ORDERS});
INSERT INTO order_events (order_id, seq, status, cause) SELECT id, 1, 'pending', 'placed' FROM orders
"""  # noqa: S608 - our own number

Publish = Callable[[Sequence[OrderEvent]], None]


def engine_sockets(engine: Engine) -> Figures:
    engine.reset()
    execute(engine.database_url, WAITING)
    order_ids = [OrderId(row["id"]) for row in rows(engine.database_url, "SELECT id FROM orders")]
    engine.start_only(("ws-gateway",), {})
    url = f"ws://127.0.0.1:{engine.fleet['ws-gateway'].ports['PORT']}"
    seal = read_seal(engine.database_url)
    with engine.servers.client() as client:
        publisher = Publisher(client)

        def publish(events: Sequence[OrderEvent]) -> None:
            publisher.publish(
                [(str(event.order_id), seal.close(frame_text(event))) for event in events]
            )

        figures = delivered(url, engine.pids, order_ids, publish)
    engine.stop()
    return figures


def plain_sockets() -> Figures:
    order_ids = [OrderId(uuid4()) for _ in range(ORDERS)]
    with plain_server() as (url, pid), connect(url + PUBLISH, compression=None) as publisher:

        def publish(events: Sequence[OrderEvent]) -> None:
            for event in events:
                publisher.send(f"{path_of(event.order_id)} {frame_text(event)}")

        return delivered(url, [pid], order_ids, publish)


@contextmanager
def plain_server() -> Iterator[tuple[str, int]]:
    """Its URL and process id."""
    port = free_port()
    command = [sys.executable, "-m", "bench.plain_broadcast", "--port", str(port)]
    with subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True) as process:
        try:
            await_line(process, "ready")
            yield f"ws://127.0.0.1:{port}", process.pid
        finally:
            process.kill()  # to close 10,000 sockets in order would take seconds


def delivered(
    url: str, server: Sequence[int], order_ids: Sequence[OrderId], publish: Publish
) -> Figures:
    """Opens the sockets, then publishes one frame of every order after the other has been read."""
    with many_sockets(url, order_ids) as sockets:
        ask(sockets, "open", FEW_SOCKETS)
        few_bytes = resident_bytes(server)
        ask(sockets, "open", ALL_SOCKETS)
        all_bytes = resident_bytes(server)
        before = 0.0
        for number in range(ROUNDS + 1):  # the first warms up
            if number == 1:
                before = tree_cpu_s(server)
            publish([event_of(order_id, seq=number + 2) for order_id in order_ids])
            ask(sockets, "read", (number + 1) * ALL_SOCKETS)
        used_s = tree_cpu_s(server) - before
    return {
        "frames/s of a core": ROUNDS * ALL_SOCKETS / used_s,
        "KB of a socket": (all_bytes - few_bytes) / (ALL_SOCKETS - FEW_SOCKETS) / 1e3,
    }


def event_of(order_id: OrderId, *, seq: int) -> OrderEvent:
    """A status that is not final, so that the streams stay open."""
    return OrderEvent(
        order_id=order_id,
        seq=seq,
        status=OrderStatus.ROUTING,
        occurred_at=datetime.fromtimestamp(time.time(), UTC),
        payload={},
    )


def path_of(order_id: OrderId) -> str:
    return f"/api/orders/{order_id}/stream"


@contextmanager
def many_sockets(url: str, order_ids: Sequence[OrderId]) -> Iterator[subprocess.Popen[str]]:
    """The client, without any socket yet; its sockets end with it."""
    command = [sys.executable, "-m", "bench.many_sockets"]
    command += ["--url", url, "--each", str(SOCKETS_EACH), *map(path_of, order_ids)]
    with subprocess.Popen(
        command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(sockets: subprocess.Popen[str], command: str, number: int) -> None:
    """Sends the client a command, and returns once it is done."""
    assert sockets.stdin is not None
    sockets.stdin.write(f"{command} {number}\n")
    sockets.stdin.flush()
    await_line(sockets, f"{command} {number}")


def await_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], ANSWER_TIMEOUT_S)
    found = process.stdout.readline().strip() if ready else ""
    if found != line:
        raise SystemExit(f"no {line!r} within {ANSWER_TIMEOUT_S:g} s, but {found!r}")
