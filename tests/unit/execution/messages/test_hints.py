import json
from datetime import timedelta
from uuid import UUID

import pytest

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.frames import frame
from order_engine.execution.messages.hints import (
    EXECUTE,
    ORDER_QUEUE,
    PUBLISH,
    STATUS_PRIORITIES,
    order_hint,
    status_hint,
    status_queue,
)
from order_engine.execution.messages.seals import Seal
from support.builders import NOON, ORDER_ID, an_event

SEAL = Seal(b"s" * 32)


def test_there_is_one_queue_for_orders_and_one_for_each_status() -> None:
    queues = {ORDER_QUEUE, *(status_queue(status) for status in OrderStatus)}

    assert queues == {
        "orders",
        "order-status-pending",
        "order-status-routing",
        "order-status-building",
        "order-status-submitted",
        "order-status-confirmed",
        "order-status-failed",
    }


def test_the_priorities_are_those_of_the_predecessor() -> None:
    assert {str(status): priority for status, priority in STATUS_PRIORITIES.items()} == {
        "pending": 5,
        "routing": 6,
        "building": 7,
        "submitted": 8,
        "confirmed": 9,
        "failed": 10,
    }


def test_an_order_has_one_job_id() -> None:
    hints = [order_hint(ORDER_ID, created_at=NOON + timedelta(seconds=n)) for n in range(2)]

    assert {hint.job_id for hint in hints} == {f"o-{ORDER_ID}"}


def test_two_orders_have_two_job_ids() -> None:
    another = OrderId(UUID(int=ORDER_ID.int + 1))

    assert (
        order_hint(ORDER_ID, created_at=NOON).job_id != order_hint(another, created_at=NOON).job_id
    )


def test_a_status_has_one_job_id_for_each_seq() -> None:
    hints = [status_hint(an_event(seq=seq), SEAL) for seq in (1, 2, 12)]

    assert [hint.job_id for hint in hints] == [f"s-{ORDER_ID}-{seq}" for seq in (1, 2, 12)]


@pytest.mark.parametrize("status", list(OrderStatus))
def test_a_status_hint_has_the_queue_and_the_priority_of_its_status(status: OrderStatus) -> None:
    hint = status_hint(an_event(status=status), SEAL)

    assert (hint.queue, hint.meta["priority"]) == (
        f"order-status-{status.value}",
        STATUS_PRIORITIES[status],
    )


def test_an_order_hint_contains_only_the_id_of_the_order() -> None:
    assert order_hint(ORDER_ID, created_at=NOON).arguments == (str(ORDER_ID),)


def test_a_hint_contains_the_time_of_the_commit() -> None:
    order = order_hint(ORDER_ID, created_at=NOON)
    status = status_hint(an_event(occurred_at=NOON), SEAL)

    assert [hint.meta["created_at"] for hint in (order, status)] == [NOON.timestamp()] * 2


def test_a_hint_names_its_function() -> None:
    order = order_hint(ORDER_ID, created_at=NOON)
    status = status_hint(an_event(), SEAL)

    assert (order.function, status.function) == (EXECUTE, PUBLISH)


def test_a_status_hint_contains_the_order_the_frame_and_the_time() -> None:
    event = an_event(status=OrderStatus.CONFIRMED, payload={"txHash": "0xfeed"})
    text = json.dumps(frame(event), separators=(",", ":"))

    assert status_hint(event, SEAL).arguments == (
        str(event.order_id),
        SEAL.close(text),
        event.occurred_at.timestamp(),
    )


def test_the_frame_of_a_status_hint_is_sealed() -> None:
    event = an_event(status=OrderStatus.CONFIRMED, payload={"txHash": "0xfeed"})
    _, message, _ = status_hint(event, SEAL).arguments
    text = SEAL.open(message.encode())

    assert text is not None
    assert json.loads(text) == frame(event)


@pytest.mark.parametrize("function", [EXECUTE, PUBLISH])
def test_a_stock_worker_can_import_the_function_of_a_hint(function: str) -> None:
    module, _, name = function.rpartition(".")

    assert callable(getattr(pytest.importorskip(module), name))


def test_a_failed_hint_is_kept_for_30_s_or_an_hour() -> None:
    order, status = order_hint(ORDER_ID, created_at=NOON), status_hint(an_event(), SEAL)

    assert (order.failure_ttl_s, status.failure_ttl_s) == (30, 3600)


def test_a_hint_was_created_at_the_time_of_the_commit() -> None:
    order = order_hint(ORDER_ID, created_at=NOON)
    status = status_hint(an_event(occurred_at=NOON), SEAL)

    assert [hint.created_at for hint in (order, status)] == [NOON] * 2
