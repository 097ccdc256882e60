"""Which events the statements announce: those that they have committed, and no others."""

from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.cancellation import CANCEL, CancelAnswer
from order_engine.execution.orders.moves import MOVE
from order_engine.execution.orders.placement import PLACE, Placed
from support.builders import an_event

EVENT = an_event()


def placed(*, created: bool) -> Placed:
    return Placed(event=EVENT, status=OrderStatus.PENDING, created=created, same_request=True)


def cancelled(*, by_this_call: bool) -> CancelAnswer:
    return CancelAnswer(
        status=OrderStatus.FAILED, cancelled=True, event=EVENT if by_this_call else None
    )


def test_a_new_order_is_announced_and_a_replay_is_not() -> None:
    assert PLACE.events(placed(created=True)) == [EVENT]
    assert PLACE.events(placed(created=False)) == []


def test_a_committed_move_is_announced_and_a_fenced_one_is_not() -> None:
    assert MOVE.events(EVENT) == [EVENT]
    assert MOVE.events(None) == []


def test_a_cancellation_is_announced_by_the_call_that_made_it() -> None:
    assert CANCEL.events(cancelled(by_this_call=True)) == [EVENT]
    assert CANCEL.events(cancelled(by_this_call=False)) == []
    assert CANCEL.events(None) == []
