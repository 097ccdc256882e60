"""Places orders on a running engine until each venue has executed one and one has failed."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from rich.console import Console
from rich.live import Live
from rich.table import Table

from order_engine.client import EngineClient, OrderView, StatusFrame
from order_engine.execution.domain.status import OrderStatus

VENUES = frozenset({"raydium", "meteora"})
ORDERS_MAX = 40
WAVE = 4
ORDER_TIMEOUT_S = 90.0
UNREACHABLE = "1000000000"
CONFIRMED_PATH = ("pending", "routing", "building", "submitted", "confirmed")


@dataclass(slots=True, kw_only=True)
class DemoOrder:
    expected: OrderStatus
    order_id: UUID | None = None
    frames: list[StatusFrame] = field(default_factory=list)
    outcome: OrderView | None = None
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    @property
    def problem(self) -> str | None:
        """Why it did not end as expected; None when it did."""
        statuses = tuple(str(frame.status) for frame in self.frames)
        if self.outcome is None or not statuses or statuses[-1] != self.expected:
            return f"expected {self.expected}, but its statuses are {' '.join(statuses) or 'none'}"
        if [frame.seq for frame in self.frames] != list(range(1, len(self.frames) + 1)):
            return "a status is missing or was sent twice"
        if self.expected is OrderStatus.CONFIRMED and statuses != CONFIRMED_PATH:
            return f"unexpected statuses: {' '.join(statuses)}"
        return None


async def run_demo(client: EngineClient, console: Console) -> int:
    """The exit code: 0 when every order ended as expected and each venue has executed one."""
    orders: list[DemoOrder] = []
    async with client as engine:
        await engine.health()
        with Live(console=console, refresh_per_second=10) as live:
            refresher = asyncio.create_task(_refresh(live, orders))
            failing = DemoOrder(expected=OrderStatus.FAILED)
            orders.append(failing)
            tasks = [asyncio.create_task(_live(engine, failing, min_amount_out=UNREACHABLE))]
            while len(orders) <= ORDERS_MAX and _venues(orders) != VENUES:
                wave = [
                    DemoOrder(expected=OrderStatus.CONFIRMED)
                    for _ in range(min(WAVE, ORDERS_MAX + 1 - len(orders)))
                ]
                orders += wave
                await asyncio.gather(*(_live(engine, order) for order in wave))
            await asyncio.gather(*tasks)
            refresher.cancel()
            live.update(_table(orders))
    if not console.is_terminal:
        console.print()  # rich ends the last table without a newline
    return _verdict(orders, console)


async def _live(
    engine: EngineClient, order: DemoOrder, *, min_amount_out: str | None = None
) -> None:
    placed = await engine.place_order(
        token_in="SOL",  # noqa: S106 - a token to trade, not to log in with
        token_out="USDC",  # noqa: S106
        amount_in="100",
        slippage_tolerance=0.5,
        min_amount_out=min_amount_out,
    )
    order.order_id = placed.order_id
    with suppress(TimeoutError):  # shown as a problem of the order
        async with asyncio.timeout(ORDER_TIMEOUT_S):
            async for frame in engine.stream(placed.order_id):
                order.frames.append(frame)
    order.seconds = time.monotonic() - order.began
    order.outcome = await engine.get_order(placed.order_id)


def _venues(orders: list[DemoOrder]) -> frozenset[str]:
    return frozenset(
        order.outcome.dex_type
        for order in orders
        if order.outcome and order.outcome.dex_type and order.expected is OrderStatus.CONFIRMED
    )


async def _refresh(live: Live, orders: list[DemoOrder]) -> None:
    while True:
        live.update(_table(orders))
        await asyncio.sleep(0.1)


def _table(orders: list[DemoOrder]) -> Table:
    table = Table("order", "statuses", "venue", "price", "time", box=None)
    for order in orders:
        outcome = order.outcome
        table.add_row(
            str(order.order_id)[-6:] if order.order_id else "",
            _statuses(order),
            (outcome and outcome.dex_type) or "",
            f"{outcome.executed_price:.6g}" if outcome and outcome.executed_price else "",
            f"{order.seconds:.1f} s" if outcome else "",
        )
    return table


def _statuses(order: DemoOrder) -> str:
    statuses = " ".join(_coloured(frame.status) for frame in order.frames)
    code = order.outcome and order.outcome.error_code
    return f"{statuses}: {code}" if code else statuses


def _coloured(status: OrderStatus) -> str:
    colour = {OrderStatus.CONFIRMED: "green", OrderStatus.FAILED: "red"}.get(status)
    return f"[{colour}]{status}[/{colour}]" if colour else str(status)


def _verdict(orders: list[DemoOrder], console: Console) -> int:
    problems = [(order, order.problem) for order in orders if order.problem]
    for order, problem in problems:
        console.print(f"[red]order {order.order_id}: {problem}[/red]")
    missing = VENUES - _venues(orders)
    if missing:
        console.print(f"[red]no order was executed by {', '.join(missing)}[/red]")
    if problems or missing:
        return 1
    console.print(
        f"[green]{len(orders)} orders ended as expected; each venue executed at least one.[/green]"
    )
    return 0
