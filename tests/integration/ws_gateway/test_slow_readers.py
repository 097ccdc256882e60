"""Clients that do not read: their buffers are bounded and the other clients do not wait."""

import asyncio
import json
import socket as sockets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis
from websockets.client import ClientProtocol
from websockets.uri import parse_uri

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.repository import Orders
from support.driven_orders import DrivenOrder, place_order
from support.streaming import (
    Announcer,
    metric_value,
    next_messages,
    open_multiplexed_socket,
    open_socket,
    read_to_close,
    run,
    send_command,
    until,
)

S = OrderStatus

ORDERS = 40
SEND_WITHIN_S = 0.5
BOUNDS = ("frames", "bytes", "time")


class SlowClient:
    """A client that sends many commands and does not read the answers."""

    def __init__(self, address: str) -> None:
        host, _, port = address.partition(":")
        self.protocol = ClientProtocol(parse_uri(f"ws://{address}/api/stream"))
        self.socket = sockets.socket()
        self.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 2_048)
        self.socket.settimeout(30)
        self.socket.connect((host, int(port)))
        self._unsent = b""
        self.protocol.send_request(self.protocol.connect())
        self._send()
        while not self.protocol.events_received():  # it reads only the handshake
            self.protocol.receive_data(self.socket.recv(4_096))
        self.socket.settimeout(SEND_WITHIN_S)

    def subscribe(self, *order_ids: OrderId) -> None:
        """Raises TimeoutError while the server does not read; the next call sends the rest."""
        for order_id in () if self._unsent else order_ids:
            command = {"op": "subscribe", "orderId": str(order_id)}
            self.protocol.send_text(json.dumps(command).encode())
        self._send()

    def discard_to_close(self) -> None:
        """Discards what the server has sent; returns when it has closed the connection."""
        self.socket.settimeout(30)
        with suppress(ConnectionError):
            while self.socket.recv(65_536):
                pass

    def _send(self) -> None:
        self._unsent += b"".join(self.protocol.data_to_send())
        while self._unsent:
            self._unsent = self._unsent[self.socket.send(self._unsent) :]


@contextmanager
def open_slow_client(address: str) -> Iterator[SlowClient]:
    client = SlowClient(address)
    try:
        yield client
    finally:
        client.socket.close()


def slow_readers() -> float:
    return sum(metric_value("order_engine_ws_slow_readers_total", bound=bound) for bound in BOUNDS)


def closed(code: int) -> float:
    return metric_value("order_engine_ws_connections_closed_total", code=str(code))


async def flood(client: SlowClient, placed: list[DrivenOrder]) -> None:
    """Subscribes to the same orders again and again, until the ws-gateway closes the client."""
    before = slow_readers()

    def subscribe_again() -> bool:
        with suppress(OSError):
            client.subscribe(*(order.order_id for order in placed))
        return slow_readers() == before + 1

    await until(subscribe_again, timeout_s=60)


def test_a_client_that_does_not_read_is_closed_and_the_others_get_all_events(
    pubsub_gateway: str, orders: Orders, announcer: Announcer
) -> None:
    async def work() -> None:
        placed = await asyncio.gather(*(place_order(orders, at=S.SUBMITTED) for _ in range(ORDERS)))
        cut_off, closed_before = (
            metric_value("order_engine_ws_connections_cut_off_total"),
            closed(4408),
        )
        other = await place_order(orders)
        with open_slow_client(pubsub_gateway) as slow:
            async with (
                open_socket(pubsub_gateway, other.order_id) as one,
                open_multiplexed_socket(pubsub_gateway) as many,
            ):
                for order in placed:
                    await send_command(many, "subscribe", order.order_id)
                assert len(await next_messages(many, 4 * ORDERS)) == 4 * ORDERS
                flooding = asyncio.create_task(flood(slow, placed))
                await announcer.announce(*await other.advance(to=S.CONFIRMED))
                assert await read_to_close(one) == ([1, 2, 3, 4, 5], 1000)
                await flooding
                await until(lambda: closed(4408) == closed_before + 1)
                await until(
                    lambda: metric_value("order_engine_ws_connections_cut_off_total") == cut_off + 1
                )
                await asyncio.to_thread(slow.discard_to_close)
                for order in placed:
                    await announcer.announce(*await order.advance(to=S.CONFIRMED))
                messages = await next_messages(many, 2 * ORDERS)

        assert sorted(each.get("seq", 0) for each in messages) == [0] * ORDERS + [5] * ORDERS

    run(work())


def test_a_slow_client_that_reconnects_has_lost_no_event(
    pubsub_gateway: str, orders: Orders
) -> None:
    async def work() -> None:
        placed = await asyncio.gather(*(place_order(orders, at=S.SUBMITTED) for _ in range(ORDERS)))
        with open_slow_client(pubsub_gateway) as slow:
            await flood(slow, placed)
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            for order in placed:
                await send_command(socket, "subscribe", order.order_id)
            frames = await next_messages(socket, 4 * ORDERS)

        for order in placed:
            seqs = [each["seq"] for each in frames if each["orderId"] == str(order.order_id)]
            assert seqs == [1, 2, 3, 4]

    run(work())


def test_the_buffer_for_a_client_that_does_not_read_is_bounded(
    pubsub_gateway: str, orders: Orders
) -> None:
    async def work() -> None:
        placed = await asyncio.gather(*(place_order(orders, at=S.SUBMITTED) for _ in range(ORDERS)))
        before = metric_value("order_engine_ws_frames_sent_total")
        with open_slow_client(pubsub_gateway) as slow:
            await flood(slow, placed)

        # buffers: 64 KiB that the kernel doubles, 16 KiB in the server, a few KiB in the client;
        # a frame has about 150 bytes
        assert metric_value("order_engine_ws_frames_sent_total") - before < 3_000

    run(work())


def test_a_large_history_is_sent_completely(
    pubsub_gateway: str, orders: Orders, broker: redis.Redis
) -> None:
    async def work() -> None:
        placed = await asyncio.gather(*(place_order(orders, at=S.CONFIRMED) for _ in range(500)))
        before = slow_readers()
        async with open_multiplexed_socket(pubsub_gateway) as socket:
            sending = asyncio.gather(
                *(send_command(socket, "subscribe", order.order_id) for order in placed)
            )
            messages = await next_messages(socket, 500 * 6)
            await sending

        assert sum(each.get("type") == "end" for each in messages) == 500
        assert slow_readers() == before

    run(work())
