"""The real order repository and the one in memory, as one kind of thing: a test can make the same
calls on both and compare what it finds.
"""

from typing import Any, Protocol

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import LOCAL_ACCOUNT, NewOrder
from order_engine.execution.orders.claims import Claimer
from order_engine.execution.orders.repository import Orders
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from order_engine.order_worker.order_store import OrderStore
from support.clock import Clock
from support.evidence import rows
from support.memory_orders import MemoryOrders
from support.stores import Databases, execute

ORDER_FIELDS = (
    "status",
    "seq",
    "attempts",
    "claims",
    "venue",
    "executed_price",
    "amount_out",
    "tx_hash",
    "error_code",
    "error_reason",
)

STATE = """
SELECT o.status, o.seq, o.lease_epoch AS epoch, o.attempts, o.claims, o.dex_type AS venue,
       o.executed_price, o.amount_out, o.tx_hash, o.error_code, o.error_reason,
       o.lease_owner IS NOT NULL AS owned, coalesce(o.lease_until > now(), false) AS leased,
       o.next_run_at <= now() AS due,
       ARRAY(SELECT concat_ws(' ', seq, status, cause) FROM order_events
             WHERE order_id = o.id ORDER BY seq) AS events,
       ARRAY(SELECT state FROM execution_intents WHERE order_id = o.id ORDER BY n) AS intents,
       ARRAY(SELECT concat_ws(' ', n, step, venue, error_code) FROM order_attempts
             WHERE order_id = o.id ORDER BY n) AS failed_attempts
FROM orders o WHERE o.id = %s
"""


class Stage(Protocol):
    """A store of orders, and what happens around it."""

    @property
    def orders(self) -> OrderStore: ...

    async def place(self, order: NewOrder) -> None: ...

    async def cancel(self, order_id: OrderId) -> bool: ...

    def pass_time(self) -> None:
        """Every lease expires, and every postponed order is due."""
        ...

    def state(self, order_id: OrderId) -> dict[str, Any]: ...


class MemoryStage:
    def __init__(self) -> None:
        self.clock = Clock()
        self.orders = MemoryOrders(now=self.clock)

    async def place(self, order: NewOrder) -> None:
        await self.orders.place(order)
        self.clock.advance(0.001)

    async def cancel(self, order_id: OrderId) -> bool:
        return await self.orders.cancel(order_id)

    def pass_time(self) -> None:
        self.clock.advance(3600)

    def state(self, order_id: OrderId) -> dict[str, Any]:
        row, now = self.orders.rows[order_id], self.clock()
        return {
            **{name: getattr(row.order, name) for name in ORDER_FIELDS},
            "epoch": row.epoch,
            "owned": row.owned,
            "leased": row.leased_until is not None and row.leased_until > now,
            "due": row.next_run_at <= now,
            "events": [
                f"{event.seq} {event.status} {cause}"
                for event, cause in zip(row.events, row.causes, strict=True)
            ],
            "intents": row.intent_states,
            "failed_attempts": [
                " ".join(filter(None, [str(a.attempt), a.step, a.venue, a.error_code]))
                for a in row.attempts
            ],
        }


class PostgresStage:
    def __init__(self, databases: Databases) -> None:
        self._url = databases.orders_url
        self.orders = Orders(
            GroupCommit(self._url, application_name="test"),
            Reader(self._url, application_name="test", connections_max=2),
            claimer=Claimer(name="worker", lease_s=10),
        )

    async def place(self, order: NewOrder) -> None:
        await self.orders.place(order)

    async def cancel(self, order_id: OrderId) -> bool:
        answer = await self.orders.cancel(order_id, account_id=LOCAL_ACCOUNT)
        return answer is not None and answer.event is not None

    def pass_time(self) -> None:
        execute(
            self._url,
            "UPDATE orders SET next_run_at = now(), lease_until ="
            " CASE WHEN lease_until IS NOT NULL THEN now() - interval '1 s' END",
        )

    def state(self, order_id: OrderId) -> dict[str, Any]:
        [row] = rows(self._url, STATE, [str(order_id)])
        return dict(row)
