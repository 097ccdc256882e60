"""The reads for each new client start without a timer: these tests run on a stopped clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.websockets import WebSocket

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.accounts.stream_tokens import StreamTokens
from order_engine.execution.domain.accounts import Scope
from order_engine.execution.domain.ids import AccountId, OrderId
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.repository import Orders
from order_engine.execution.stores.redis_clients import async_redis_client
from order_engine.ws_gateway.admission import Admission
from order_engine.ws_gateway.feeds import Feeds
from order_engine.ws_gateway.subscriptions import Subscriptions
from order_engine.ws_gateway.verified_frames import Published
from support.driven_orders import place_order
from support.stopped_clock import run_without_timers
from support.stores import Stores
from support.streaming import NEVER_S

CLIENTS = 5
DEADLINE_S = 20


class GrowthSignal:
    """A follower that sets `grew` when its feed grows."""

    def __init__(self) -> None:
        self.grew = asyncio.Event()

    def feed_grew(self) -> int:
        self.grew.set()
        return 0


@asynccontextmanager
async def open_feeds(orders: Orders, redis_url: str) -> AsyncIterator[Feeds]:
    def ignore(order_id: OrderId, message: bytes) -> None:
        pass

    client = async_redis_client(redis_url)
    subscriptions = Subscriptions(client, ignore)
    running = asyncio.create_task(subscriptions.run())
    try:
        yield Feeds(orders, subscriptions, check_s=NEVER_S)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.aclose()


def websocket_with_key(secret: str) -> WebSocket:
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {secret}".encode())]
    scope = {"type": "websocket", "path": "/", "query_string": b"", "headers": headers}

    async def unused(*_: object) -> None:
        raise AssertionError("admission neither receives nor sends")

    return WebSocket(scope, unused, unused)  # type: ignore[arg-type]  # never called


def test_the_history_of_each_client_is_read_at_once(orders: Orders, stores: Stores) -> None:
    async def work() -> None:
        async with open_feeds(orders, stores.redis_url) as feeds:
            for _ in range(CLIENTS):
                order = await place_order(orders)
                await order.move(OrderStatus.ROUTING)

                feed = await feeds.join(order.order_id, GrowthSignal())

                assert feed.last == 2

    run_without_timers(work(), deadline_s=DEADLINE_S)


def test_each_gap_is_read_at_once(orders: Orders, stores: Stores) -> None:
    async def work() -> None:
        async with open_feeds(orders, stores.redis_url) as feeds:
            order = await place_order(orders)
            follower = GrowthSignal()
            feed = await feeds.join(order.order_id, follower)
            for status in (OrderStatus.ROUTING, OrderStatus.BUILDING, OrderStatus.SUBMITTED):
                event = await order.move(status)
                follower.grew.clear()

                # a seq above the next one shows that the events before it were lost
                feeds.offer(
                    order.order_id,
                    Published(
                        seq=event.seq + 1,
                        is_final=False,
                        committed_at=event.occurred_at,
                        text="",
                    ),
                )
                await follower.grew.wait()

                assert feed.last == event.seq

    run_without_timers(work(), deadline_s=DEADLINE_S)


def test_the_key_of_each_client_is_looked_up_at_once(keys: ApiKeys, tokens: StreamTokens) -> None:
    async def work() -> None:
        made, secret = await keys.make(AccountId("acme"), {Scope.READ}, label="test")
        admission = Admission(keys, tokens, origins=(), is_for_this_machine=False)
        for _ in range(CLIENTS):
            caller = await admission.admit(websocket_with_key(secret))

            assert caller.key_id == made.id

    run_without_timers(work(), deadline_s=DEADLINE_S)
