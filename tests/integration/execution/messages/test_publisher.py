from collections.abc import Iterator

import pytest
import redis
from redis.client import PubSub

from order_engine.execution.messages.channels import channel
from order_engine.execution.messages.publisher import Publisher

MESSAGE = "0123456789abcdef0123456789abcdef" + '{"orderId":"o-1", "seq":1,"errorReason":"zu spät"}'


@pytest.fixture
def publisher(client: redis.Redis) -> Publisher:
    return Publisher(client)


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
    publisher.publish([("o-1", MESSAGE)])

    assert received(listening) == (b"order-events:o-1", MESSAGE.encode())


def test_messages_are_published_in_the_order_given(publisher: Publisher, listening: PubSub) -> None:
    publisher.publish([("o-1", MESSAGE), ("o-2", "second"), ("o-1", "third")])

    assert [received(listening) for _ in range(3)] == [
        (b"order-events:o-1", MESSAGE.encode()),
        (b"order-events:o-2", b"second"),
        (b"order-events:o-1", b"third"),
    ]


def test_a_text_without_an_encoding_does_not_fail_the_others(
    publisher: Publisher, listening: PubSub
) -> None:
    publisher.publish([("o-1", "\ud800"), ("o-2", MESSAGE)])

    assert received(listening) == (b"order-events:o-1", b"?")
    assert received(listening) == (b"order-events:o-2", MESSAGE.encode())
