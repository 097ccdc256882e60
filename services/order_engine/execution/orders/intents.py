"""The intents of orders that were submitted when they were claimed."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import structlog

from order_engine.execution.domain.errors import Unreadable
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import ClaimedOrder
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.rows import intent_from
from order_engine.execution.stores.postgres import Reader
from order_engine.execution.stores.rows import Row

INTENTS = """
SELECT order_id, n, venue, signature, transaction, quote, valid_until, state
FROM execution_intents
WHERE order_id = ANY(%(orders)s::uuid[])
ORDER BY order_id, n
"""

log = structlog.get_logger()


async def with_intents(claimed: Sequence[ClaimedOrder], reader: Reader) -> list[ClaimedOrder]:
    """The orders, those that were submitted with their intents, without those that are unreadable."""
    submitted = [each for each in claimed if each.order.status is OrderStatus.SUBMITTED]
    try:
        intents = await _intents(submitted, reader)
    except Unreadable:  # those of some order
        intents = {}
        for each in submitted:
            with suppress(Unreadable):
                intents |= await _intents([each], reader)
    orders = [each for each in claimed if each.order.status is not OrderStatus.SUBMITTED]
    for each in submitted:
        try:
            orders.append(_with_intent(each, intents[each.order.id]))
        except (LookupError, ValueError, TypeError) as error:
            log.error("intents not read", order_id=str(each.order.id), error=repr(error))
    return orders


async def _intents(submitted: Sequence[ClaimedOrder], reader: Reader) -> dict[OrderId, list[Row]]:
    """The intents of each order, in a second statement, so that it sees what the fenced claimer
    committed before this claim.
    """
    by_order: dict[OrderId, list[Row]] = {each.order.id: [] for each in submitted}
    if submitted:
        ids = [str(order_id) for order_id in by_order]
        for row in await reader.rows(INTENTS, {"orders": ids}):
            by_order[row["order_id"]].append(row)
    return by_order


def _with_intent(claimed: ClaimedOrder, rows: Sequence[Row]) -> ClaimedOrder:
    """`rows` are all intents of the order, by ascending number."""
    counts = [row for row in rows if row["state"] != "dead"]
    return replace(claimed, intent=intent_from(counts[0]) if counts else None, intents=len(rows))
