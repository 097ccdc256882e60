"""An order whose history cannot be read: its own clients are told to come back, the others go on."""

import asyncio

import pytest

from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.repository import Orders
from support.damaged_rows import damage
from support.driven_orders import place_order
from support.stores import Databases
from support.streaming import (
    open_socket,
    read_to_close,
    run,
)

DAMAGES = {
    "a year after 9999": """
        UPDATE order_events SET occurred_at = '20000-01-01' WHERE order_id = '{}' AND seq = 3
    """,
    "an unknown status": """
        UPDATE order_events SET status = 'paused' WHERE order_id = '{}' AND seq = 3
    """,
    "a payload that is a number": """
        UPDATE order_events SET payload = '5' WHERE order_id = '{}' AND seq = 3
    """,
    "a payload that is a list": """
        UPDATE order_events SET payload = '[1]' WHERE order_id = '{}' AND seq = 3
    """,
    "text that is not UTF-8": r"""
        UPDATE order_events SET payload = jsonb_build_object('txHash', E'\377')
        WHERE order_id = '{}' AND seq = 3
    """,
}


@pytest.mark.parametrize("sql", DAMAGES.values(), ids=list(DAMAGES))
def test_the_others_get_all_frames(
    sql: str, databases: Databases, orders: Orders, pubsub_gateway: str
) -> None:
    async def frames(order_id: object) -> tuple[list[int], int | None]:
        async with open_socket(pubsub_gateway, order_id) as socket:
            return await read_to_close(socket)

    async def work() -> None:
        bad, *others = [await place_order(orders) for _ in range(5)]
        for order in (bad, *others):
            await order.advance(to=OrderStatus.CONFIRMED)
        damage(databases.orders_url, sql.format(bad.order_id))
        found = await asyncio.gather(*(frames(order.order_id) for order in (bad, *others)))

        assert found[0] == ([], 1012)
        assert found[1:] == [([1, 2, 3, 4, 5], 1000)] * 4

    run(work())
