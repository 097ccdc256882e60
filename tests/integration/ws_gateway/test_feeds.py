"""A feed that receives events from pub/sub before it has read PostgreSQL."""

import json

from order_engine.execution.domain.order import LOCAL_ACCOUNT
from order_engine.execution.domain.status import FINAL, OrderStatus
from order_engine.execution.messages.frames import frame
from order_engine.execution.orders.repository import Orders
from order_engine.ws_gateway.feeds import Feed
from order_engine.ws_gateway.verified_frames import Published
from support.driven_orders import events_of, place_order
from support.streaming import run


def test_an_order_that_ends_before_its_history_is_read_still_has_an_owner(orders: Orders) -> None:
    async def work() -> None:
        order = await place_order(orders)
        await order.advance(to=OrderStatus.CONFIRMED)
        feed = Feed(order.order_id, orders)
        for event in await events_of(orders, order.order_id):
            feed.offer(
                Published(
                    seq=event.seq,
                    is_final=event.status in FINAL,
                    committed_at=event.occurred_at,
                    text=json.dumps(frame(event)),
                )
            )
        assert feed.final

        await feed.loaded()

        assert feed.account_id == LOCAL_ACCOUNT
        assert feed.last == 5

    run(work())
