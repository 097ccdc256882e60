import asyncio
from uuid import uuid4

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.messages.channels import channel
from order_engine.execution.stores.redis_clients import async_redis_client
from order_engine.ws_gateway.subscriptions import Subscriptions
from support.stores import Stores
from support.streaming import run, until


def test_an_order_that_is_unsubscribed_before_redis_confirms_it_is_removed(stores: Stores) -> None:
    async def work() -> None:
        client = async_redis_client(stores.redis_url)
        subscriptions = Subscriptions(client, lambda _order_id, _message: None)
        running = asyncio.create_task(subscriptions.run())
        await until(lambda: subscriptions.connected)
        # in some of these turns of the event loop Redis has the command but has not confirmed it
        for turns in range(100):
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
