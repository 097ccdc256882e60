import asyncio
from uuid import uuid4

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.messages.publisher import channel
from order_engine.execution.stores.redis_clients import async_redis_client
from order_engine.ws_gateway.subscriptions import Subscriptions
from support.stores import Stores
from support.streaming import run, until


def test_an_order_that_was_left_before_redis_confirmed_it_is_forgotten(stores: Stores) -> None:
    async def work() -> None:
        client = async_redis_client(stores.redis_url)
        subscriptions = Subscriptions(client, lambda _order_id, _message: None)
        running = asyncio.create_task(subscriptions.run())
        await until(lambda: subscriptions.connected)
        for turns in range(
            100
        ):  # of the loop: in some of them the order is told, not yet confirmed
            left = OrderId(uuid4())
            following = asyncio.create_task(subscriptions.subscribe(left))
            for _ in range(turns % 10 + 1):
                await asyncio.sleep(0)
            subscriptions.unsubscribe(left)
            await following
        kept = OrderId(uuid4())
        await subscriptions.subscribe(kept)

        assert subscriptions._confirmed == {channel(kept)}
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.aclose()

    run(work())
