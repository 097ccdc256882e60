"""The orders in PostgreSQL.

Every write is one autocommit statement of the group commit. It reads its rows from one JSON
parameter, compares before it sets, and is safe to repeat.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

import psycopg2
import structlog

from order_engine.execution import metrics
from order_engine.execution.domain.errors import StoreUnavailable, Unreadable
from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import AccountId, OrderId
from order_engine.execution.domain.order import ClaimedOrder, NewOrder, Order, Transition
from order_engine.execution.domain.transaction import Intent
from order_engine.execution.orders.audit import AUDIT, STUCK, AuditedOrder, Change
from order_engine.execution.orders.cancellation import CANCEL, Cancel, CancelAnswer
from order_engine.execution.orders.claims import (
    CLAIM,
    CLAIM_STARTED,
    CLAIM_WAITING,
    COUNT_WAITING,
    NO_CLAIMER,
    RELEASE,
    SET_ASIDE,
    STARTED_IDS,
    WAITING_IDS,
    Claim,
    Claimed,
    Claimer,
    SetAside,
)
from order_engine.execution.orders.intents import with_intents
from order_engine.execution.orders.moves import (
    FAILED_ATTEMPT,
    MOVE,
    NEXT_INTENT,
    FailedAttempt,
    Move,
    NextIntent,
)
from order_engine.execution.orders.placement import PLACE, Placed
from order_engine.execution.orders.reads import (
    ANSWERS,
    CLOCK,
    GET,
    HISTORY,
    PAGE,
    POSITIONS,
    RECENT_STARTS,
    History,
    Page,
    Position,
    page_parameters,
)
from order_engine.execution.orders.rows import order_from, readable_orders
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from order_engine.execution.stores.rows import UnreadableRows
from order_engine.execution.stores.statements import Statement

UNREADABLE_MAX = 10_000  # a page does not look behind more of them

REFUSED_MAX = 1_000  # orders that PostgreSQL refuses to claim, before others are not reached

log = structlog.get_logger()


class Orders:
    """The repository of orders.

    Only a process that claims orders has a `claimer`.

    Calls raise StoreUnavailable while PostgreSQL does not answer in time, and Overloaded when too
    many calls are waiting.
    """

    def __init__(
        self, commits: GroupCommit, reader: Reader, *, claimer: Claimer = NO_CLAIMER
    ) -> None:
        self._commits = commits
        self._reader = reader
        self._claimer = claimer
        self._claim_numbers = itertools.count(1)
        self._read_numbers = itertools.count(1)

    async def place(self, order: NewOrder) -> Placed:
        """Commits a new order with its first event, or finds the one that has its idempotency key."""
        return await self._commits.run(PLACE, order)

    async def claim(self, order_id: OrderId) -> ClaimedOrder | None:
        """Claims one order; None when it is final, not due, or leased by another claim."""
        claimed = await self._claim(CLAIM, self._request(order_id=order_id))
        return claimed[0] if claimed else None

    async def claim_started(self, *, most: int) -> list[ClaimedOrder]:
        """Claims started orders that are due and have no lease: crashed, released, or retried."""
        try:
            return await self._claim(CLAIM_STARTED, self._request(most=most))
        except psycopg2.Error as error:
            return await self._claim_each(STARTED_IDS, {}, most=most, cause=error)

    async def count_waiting(self, *, before: datetime | None, lag_s: float, most: int) -> int:
        """How many orders, up to `most`, `claim_waiting` would claim. Locks and writes nothing."""
        parameters = {"before": before, "lag_s": lag_s, "most": most}
        [row] = await self._reader.rows(COUNT_WAITING, parameters)
        return int(row["count"])

    async def claim_waiting(
        self, *, before: datetime | None, lag_s: float, most: int
    ) -> list[ClaimedOrder]:
        """Claims orders that were never started, placed `lag_s` before `before`, oldest first.

        `before` None stands for now.
        """
        try:
            return await self._claim(
                CLAIM_WAITING, self._request(most=most, before=before, lag_s=lag_s)
            )
        except psycopg2.Error as error:
            which = {"before": before, "lag_s": lag_s}
            return await self._claim_each(WAITING_IDS, which, most=most, cause=error)

    async def move(self, transition: Transition) -> OrderEvent | None:
        """Commits one move with its event; None when a later claim holds the order."""
        event = await self._commits.run(
            MOVE, Move(transition=transition, lease_s=self._claimer.lease_s)
        )
        if event is None:
            metrics.ORDERS_FENCED.inc()
        else:
            metrics.ORDERS_MOVED.labels(status=event.status).inc()
        return event

    async def record_intent(self, claimed: ClaimedOrder, intent: Intent) -> bool:
        """Records a further intent of a submitted order; False when a later claim holds it."""
        next_intent = NextIntent(
            order_id=claimed.order.id,
            epoch=claimed.epoch,
            intent=intent,
            lease_s=self._claimer.lease_s,
        )
        return await self._commits.run(NEXT_INTENT, next_intent)

    async def record_failed_attempt(self, attempt: FailedAttempt) -> bool:
        """Releases the order until it is due again; False when a later claim holds it."""
        return await self._commits.run(FAILED_ATTEMPT, attempt)

    async def release(self, claimed: ClaimedOrder) -> bool:
        """Undoes a claim: another may follow at once. False when a later claim holds the order."""
        return await self._commits.run(RELEASE, claimed)

    async def cancel(self, order_id: OrderId, *, account_id: AccountId) -> CancelAnswer | None:
        """Fails an order that has no intent yet; None when this account has no such order."""
        return await self._commits.run(CANCEL, Cancel(order_id=order_id, account_id=account_id))

    async def get(self, order_id: OrderId, *, account_id: AccountId) -> Order | None:
        """None when there is no such order, or it belongs to another account."""
        parameters = {"order_id": str(order_id), "account_id": account_id}
        rows = await self._reader.rows(GET, parameters)
        return order_from(rows[0]) if rows else None

    async def page(self, page: Page) -> Sequence[Order]:
        """The orders of one page, newest first. Those that cannot be read are left out."""
        most = page.most
        while True:
            rows, missing = await self._reader.readable_rows(
                PAGE, page_parameters(replace(page, most=most))
            )
            orders = [order for order, _ in readable_orders(rows)]
            is_last = len(rows) + missing < most
            if len(orders) >= page.most or is_last or most > UNREADABLE_MAX:
                return orders[: page.most]
            most = 2 * most  # the unreadable have no place from which to go on

    async def history(self, order_id: OrderId, *, after: int = 0) -> History | None:
        """Events after seq `after`; None when there is no such order. Concurrent reads share a query."""
        position = Position(n=next(self._read_numbers), order_id=order_id, after=after)
        try:
            return await self._commits.run(HISTORY, position)
        except (UnreadableRows, ValueError) as error:
            raise Unreadable(f"an event of order {order_id} cannot be read: {error}") from error

    async def positions(self, order_ids: Sequence[OrderId]) -> dict[OrderId, int]:
        """The current seq of each order that exists."""
        parameters = {"orders": [str(order_id) for order_id in order_ids]}
        rows = await self._reader.rows(POSITIONS, parameters)
        return {OrderId(row["id"]): row["seq"] for row in rows}

    async def answers(self) -> bool:
        """Whether PostgreSQL answers and has the schema."""
        try:
            return bool(await self._reader.rows(ANSWERS, {}))
        except (StoreUnavailable, psycopg2.Error):
            return False

    async def recent_starts(self, *, within_s: float) -> dict[OrderId, float]:
        """Orders first claimed in the last `within_s`, with the age of that claim in seconds."""
        rows = await self._reader.rows(RECENT_STARTS, {"within_s": within_s})
        return {OrderId(row["id"]): row["age_s"] for row in rows}

    async def audit(self, *, beyond: Change, lag_s: float, most: int) -> list[AuditedOrder]:
        """Orders changed after `beyond` and at least `lag_s` ago, oldest change first, each checked."""
        parameters = {
            "changed_at": beyond.changed_at,
            "order_id": str(beyond.order_id),
            "lag_s": lag_s,
            "most": most,
        }
        return [
            AuditedOrder(
                change=Change(changed_at=row["updated_at"], order_id=OrderId(row["id"])),
                broken=tuple(row["broken"]),
            )
            for row in await self._reader.rows(AUDIT, parameters)
        ]

    async def count_stuck(self, *, patience_s: float) -> int:
        """Started orders that have been due and without a lease for `patience_s`; up to 1,000."""
        [row] = await self._reader.rows(STUCK, {"patience_s": patience_s})
        return int(row["count"])

    async def clock(self) -> datetime:
        """The time of PostgreSQL, by which leases and due times are decided."""
        [row] = await self._reader.rows(CLOCK, {})
        return cast(datetime, row["now"])

    async def finish(self) -> None:
        """Runs the writes that are already waiting and closes the connections."""
        await self._commits.finish()
        self._reader.close()

    def close(self) -> None:
        """Closes the connections at once."""
        self._commits.close()
        self._reader.close()

    def _request(
        self,
        *,
        order_id: OrderId | None = None,
        most: int = 1,
        before: datetime | None = None,
        lag_s: float = 0.0,
    ) -> Claim:
        return Claim(
            owner=f"{self._claimer.name}/{next(self._claim_numbers)}",
            lease_s=self._claimer.lease_s,
            order_id=order_id,
            most=most,
            before=before,
            lag_s=lag_s,
        )

    async def _claim(
        self, statement: Statement[Claim, Claimed], claim: Claim
    ) -> list[ClaimedOrder]:
        claimed = await self._commits.run(statement, claim)
        orders = await with_intents(claimed, self._reader)
        if len(orders) < len(claimed) or not claimed.all_readable:
            await self._set_aside(claim.owner, readable=[each.order.id for each in orders])
        return orders

    async def _claim_each(
        self, ids: str, which: Mapping[str, Any], *, most: int, cause: psycopg2.Error
    ) -> list[ClaimedOrder]:
        """Claims orders one by one, because PostgreSQL refuses to write one of them.

        Its row may violate a constraint that was added later, or be damaged on the disk.
        """
        log.error("orders claimed one by one", error=str(cause).strip())
        claimed: list[ClaimedOrder] = []
        for row in await self._reader.rows(ids, {**which, "most": most + REFUSED_MAX}):
            if len(claimed) == most:
                break
            try:
                claimed += await self._claim(CLAIM, self._request(order_id=OrderId(row["id"])))
            except psycopg2.Error as error:
                metrics.ORDERS_SET_ASIDE.inc()
                log.error(
                    "order left out: it cannot be claimed",
                    order_id=str(row["id"]),
                    error=str(error).strip(),
                )
        return claimed

    async def _set_aside(self, owner: str, *, readable: Sequence[OrderId]) -> None:
        """Postpones the orders of a claim that cannot be read, so that they do not stop the others."""
        for order_id in await self._commits.run(
            SET_ASIDE, SetAside(owner=owner, readable=readable)
        ):
            metrics.ORDERS_SET_ASIDE.inc()
            log.error("order set aside: it cannot be read", order_id=str(order_id))
