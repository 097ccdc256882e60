import asyncio
from collections.abc import Iterator

import pytest
import redis
from redis.client import PubSub

from order_engine.execution.messages.publisher import Publisher, channel

MESSAGE = "0123456789abcdef0123456789abcdef" + '{"orderId":"o-1", "seq":1,"errorReason":"zu spät"}'


@pytest.fixture
def publisher(client: redis.Redis) -> Iterator[Publisher]:
    publisher = Publisher(client)
    yield publisher
    publisher.close()


@pytest.fixture
def listening(client: redis.Redis) -> Iterator[PubSub]:
    with client.pubsub(ignore_subscribe_messages=True) as listening:  # type: ignore[no-untyped-call]  # untyped in redis
        listening.psubscribe(channel("*"))
        assert listening.get_message(timeout=1) is None  # the subscription itself
        yield listening


def received(listening: PubSub) -> tuple[bytes, bytes]:
    message = listening.get_message(timeout=5)
    assert message is not None
    return message["channel"], message["data"]


def test_a_message_is_published_unchanged_on_the_channel_of_its_order(
    publisher: Publisher, listening: PubSub
) -> None:
    asyncio.run(publisher.publish("o-1", MESSAGE))

    assert received(listening) == (b"order-events:o-1", MESSAGE.encode())


@pytest.mark.parametrize("message", [7, None, {"seq": 1}, ["text"], "\ud800"])
def test_a_message_that_cannot_be_encoded_fails_alone(
    publisher: Publisher, listening: PubSub, message: object
) -> None:
    async def publish_both() -> tuple[BaseException | None, BaseException | None]:
        return await asyncio.gather(
            publisher.publish("o-1", message),  # type: ignore[arg-type]
            publisher.publish("o-2", MESSAGE),
            return_exceptions=True,
        )

    wrong, good = asyncio.run(publish_both())

    assert isinstance(wrong, AttributeError | UnicodeEncodeError)
    assert good is None
    assert received(listening) == (b"order-events:o-2", MESSAGE.encode())
