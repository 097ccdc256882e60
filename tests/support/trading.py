"""Clients that place and follow orders, and record what they receive."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from order_engine.client import EngineClient, StatusFrame
from proof.history import Violation, violations
from support.evidence import evidence
from support.fleet import Fleet
from support.stores import Databases

SOL_USDC = {
    "token_in": "SOL",
    "token_out": "USDC",
    "amount_in": "100",
    "slippage_tolerance": 0.5,
}


@dataclass(slots=True)
class Trading:
    """What the clients of one run have placed and received."""

    acknowledged: list[UUID] = field(default_factory=list)
    logs: dict[tuple[str, UUID], list[StatusFrame]] = field(default_factory=dict)

    async def place(self, engine: EngineClient, count: int, **form: object) -> list[UUID]:
        """Places orders concurrently; each is recorded when it is acknowledged."""
        placed = await asyncio.gather(
            *(engine.place_order(**{**SOL_USDC, **form}) for _ in range(count))  # type: ignore[arg-type]
        )
        ids = [acknowledgement.order_id for acknowledgement in placed]
        self.acknowledged += ids
        return ids

    async def follow(
        self, engine: EngineClient, order_ids: Iterable[UUID], *, clients: int, within_s: float
    ) -> None:
        """Each of `clients` follows every order until it ends; fails when one has not ended in time."""
        async with asyncio.timeout(within_s), asyncio.TaskGroup() as tasks:
            for order_id in order_ids:
                for n in range(clients):
                    tasks.create_task(self._follow(engine, order_id, client=f"client-{n}"))

    async def _follow(self, engine: EngineClient, order_id: UUID, *, client: str) -> None:
        log = self.logs.setdefault((client, order_id), [])
        async for frame in engine.stream(order_id):
            log.append(frame)

    def violations(self, databases: Databases) -> list[Violation]:
        return violations(evidence(databases, acknowledged=self.acknowledged, logs=self.logs))


def trade(fleet: Fleet, count: int) -> Trading:
    """Places orders and follows each to its end."""
    trading = Trading()

    async def work() -> None:
        async with fleet.client() as engine:
            ids = await trading.place(engine, count)
            await trading.follow(engine, ids, clients=1, within_s=60)

    asyncio.run(work())
    return trading
