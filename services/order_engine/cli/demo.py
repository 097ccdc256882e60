"""The demonstration: real orders against a running fleet, until every kind of end has been seen."""

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
class Story:
    """One order as its client lives it."""

    must_end: OrderStatus
    order_id: UUID | None = None
    frames: list[StatusFrame] = field(default_factory=list)
    outcome: OrderView | None = None
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    @property
    def fault(self) -> str | None:
        """What is wrong with how it ended; None when it ended as it must."""
        statuses = tuple(str(frame.status) for frame in self.frames)
        if self.outcome is None or not statuses or statuses[-1] != self.must_end:
            return f"should have ended {self.must_end}, and stands at {' '.join(statuses) or '-'}"
        if [frame.seq for frame in self.frames] != list(range(1, len(self.frames) + 1)):
            return "a status is missing or came twice"
        if self.must_end is OrderStatus.CONFIRMED and statuses != CONFIRMED_PATH:
            return f"took another path: {' '.join(statuses)}"
        return None


async def run_demo(client: EngineClient, console: Console) -> int:
    """0 when each venue has won once, one order has failed as it must, and no other has."""
    stories: list[Story] = []
    async with client as engine:
        await engine.health()
        with Live(console=console, refresh_per_second=10) as live:
            refresher = asyncio.create_task(_refresh(live, stories))
            failing = Story(must_end=OrderStatus.FAILED)
            stories.append(failing)
            tasks = [asyncio.create_task(_live(engine, failing, min_amount_out=UNREACHABLE))]
            while len(stories) <= ORDERS_MAX and _winners(stories) != VENUES:
                wave = [
                    Story(must_end=OrderStatus.CONFIRMED)
                    for _ in range(min(WAVE, ORDERS_MAX + 1 - len(stories)))
                ]
                stories += wave
                await asyncio.gather(*(_live(engine, story) for story in wave))
            await asyncio.gather(*tasks)
            refresher.cancel()
            live.update(_table(stories))
    return _verdict(stories, console)


async def _live(engine: EngineClient, story: Story, *, min_amount_out: str | None = None) -> None:
    placed = await engine.place_order(
        token_in="SOL",  # noqa: S106 - a token to trade, not to log in with
        token_out="USDC",  # noqa: S106
        amount_in="100",
        slippage_tolerance=0.5,
        min_amount_out=min_amount_out,
    )
    story.order_id = placed.order_id
    with suppress(TimeoutError):  # an order that has not ended by then is a fault of its story
        async with asyncio.timeout(ORDER_TIMEOUT_S):
            async for frame in engine.stream(placed.order_id):
                story.frames.append(frame)
    story.seconds = time.monotonic() - story.began
    story.outcome = await engine.get_order(placed.order_id)


def _winners(stories: list[Story]) -> frozenset[str]:
    return frozenset(
        story.outcome.dex_type
        for story in stories
        if story.outcome and story.outcome.dex_type and story.must_end is OrderStatus.CONFIRMED
    )


async def _refresh(live: Live, stories: list[Story]) -> None:
    while True:
        live.update(_table(stories))
        await asyncio.sleep(0.1)


def _table(stories: list[Story]) -> Table:
    table = Table("order", "statuses, as they came", "venue", "price", "time", box=None)
    for story in stories:
        outcome = story.outcome
        table.add_row(
            str(story.order_id)[-6:] if story.order_id else "",
            _life(story),
            (outcome and outcome.dex_type) or "",
            f"{outcome.executed_price}" if outcome and outcome.executed_price else "",
            f"{story.seconds:.1f} s" if outcome else "",
        )
    return table


def _life(story: Story) -> str:
    statuses = " ".join(_coloured(frame.status) for frame in story.frames)
    code = story.outcome and story.outcome.error_code
    return f"{statuses}: {code}" if code else statuses


def _coloured(status: OrderStatus) -> str:
    colour = {OrderStatus.CONFIRMED: "green", OrderStatus.FAILED: "red"}.get(status)
    return f"[{colour}]{status}[/{colour}]" if colour else str(status)


def _verdict(stories: list[Story], console: Console) -> int:
    faults = [(story, story.fault) for story in stories if story.fault]
    for story, fault in faults:
        console.print(f"[red]order {story.order_id}: {fault}[/red]")
    missing = VENUES - _winners(stories)
    if missing:
        console.print(f"[red]in {len(stories) - 1} orders {', '.join(missing)} never won[/red]")
    if faults or missing:
        return 1
    console.print(f"[green]{len(stories)} orders, each ended as it must; both venues won.[/green]")
    return 0
