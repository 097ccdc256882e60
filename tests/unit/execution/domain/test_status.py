from itertools import product

import pytest

from order_engine.execution.domain.status import FINAL, TRANSITIONS, OrderStatus

PENDING, ROUTING, BUILDING, SUBMITTED, CONFIRMED, FAILED = OrderStatus

EVERY_PAIR = list(product(OrderStatus, OrderStatus))

# Repeated on purpose: an error in the table must not correct its own test.
LEGAL = {
    (PENDING, ROUTING),
    (PENDING, FAILED),
    (ROUTING, BUILDING),
    (ROUTING, FAILED),
    (BUILDING, SUBMITTED),
    (BUILDING, FAILED),
    (SUBMITTED, CONFIRMED),
    (SUBMITTED, FAILED),
}


def _reachable(source: OrderStatus) -> set[OrderStatus]:
    reached: set[OrderStatus] = set()
    ahead = set(TRANSITIONS[source])
    while ahead:
        reached |= ahead
        ahead = {target for status in ahead for target in TRANSITIONS[status]} - reached
    return reached


def test_there_are_thirty_six_pairs_of_statuses() -> None:
    assert len(EVERY_PAIR) == 36


@pytest.mark.parametrize(("source", "target"), EVERY_PAIR)
def test_a_move_is_in_the_table_exactly_when_it_is_legal(
    source: OrderStatus, target: OrderStatus
) -> None:
    assert (target in TRANSITIONS[source]) == ((source, target) in LEGAL)


def test_every_status_has_its_row_in_the_table() -> None:
    assert set(TRANSITIONS) == set(OrderStatus)


def test_confirmed_and_failed_are_the_only_final_statuses() -> None:
    assert {CONFIRMED, FAILED} == FINAL


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - FINAL))
def test_an_order_that_is_not_final_can_fail(status: OrderStatus) -> None:
    assert FAILED in TRANSITIONS[status]


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - FINAL))
def test_an_order_that_is_not_final_can_still_be_confirmed(status: OrderStatus) -> None:
    assert CONFIRMED in _reachable(status)


@pytest.mark.parametrize("status", list(OrderStatus))
def test_no_status_can_be_reached_from_itself(status: OrderStatus) -> None:
    assert status not in _reachable(status)


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - {PENDING}))
def test_every_status_can_be_reached_from_pending(status: OrderStatus) -> None:
    assert status in _reachable(PENDING)


def test_nothing_leads_back_to_pending() -> None:
    assert all(PENDING not in targets for targets in TRANSITIONS.values())


def test_the_table_is_read_only() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[FAILED] = frozenset({PENDING})  # type: ignore[index]  # the test is that this fails


def test_the_names_of_the_statuses_are_stable() -> None:
    assert [str(status) for status in OrderStatus] == [
        "pending",
        "routing",
        "building",
        "submitted",
        "confirmed",
        "failed",
    ]
