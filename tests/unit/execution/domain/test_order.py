from datetime import timedelta
from decimal import Decimal
from itertools import product

import pytest

from order_engine.execution.domain.errors import IllegalTransition, NoLiveQuote
from order_engine.execution.domain.order import LOCAL_ACCOUNT
from order_engine.execution.domain.quote import VenueName
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.domain.transaction import Intent
from support.builders import (
    NOON,
    ORDER_ID,
    a_claimed_order,
    a_fill,
    a_move,
    a_quote,
    a_transition,
    an_event,
    an_intent,
)

PENDING, ROUTING, BUILDING, SUBMITTED, CONFIRMED, FAILED = OrderStatus
RAYDIUM, METEORA = VenueName("raydium"), VenueName("meteora")

LEGAL = [
    (PENDING, ROUTING),
    (PENDING, FAILED),
    (ROUTING, BUILDING),
    (ROUTING, FAILED),
    (BUILDING, SUBMITTED),
    (BUILDING, FAILED),
    (SUBMITTED, CONFIRMED),
    (SUBMITTED, FAILED),
]
# No method moves an order to `pending`.
ILLEGAL = [pair for pair in product(OrderStatus, list(OrderStatus)[1:]) if pair not in LEGAL]


@pytest.mark.parametrize(("source", "target"), LEGAL)
def test_a_move_that_the_table_allows_is_made(source: OrderStatus, target: OrderStatus) -> None:
    move = a_move(a_claimed_order(status=source, epoch=7, intent=an_intent()), target)

    assert (move.order_id, move.epoch, move.source, move.target) == (ORDER_ID, 7, source, target)


@pytest.mark.parametrize(("source", "target"), ILLEGAL)
def test_a_move_that_the_table_does_not_allow_is_refused(
    source: OrderStatus, target: OrderStatus
) -> None:
    with pytest.raises(IllegalTransition, match=f"^{source} -> {target}$"):
        a_move(a_claimed_order(status=source, intent=an_intent()), target)


def test_every_pair_is_either_legal_or_not() -> None:
    assert len(LEGAL) + len(ILLEGAL) == 30


def test_an_order_without_an_intent_cannot_be_confirmed() -> None:
    with pytest.raises(IllegalTransition, match="without an intent"):
        a_claimed_order(status=SUBMITTED).confirmed(a_fill())


def test_a_confirmation_settles_the_intent_that_landed() -> None:
    fill = a_fill()
    move = a_claimed_order(status=SUBMITTED, intent=an_intent(n=2)).confirmed(fill)

    assert (move.fill, move.settles) == (fill, 2)


@pytest.mark.parametrize(("intent", "settles"), [(an_intent(n=3), 3), (None, None)])
def test_a_failure_settles_the_intent_if_there_is_one(
    intent: Intent | None, settles: int | None
) -> None:
    failure = NoLiveQuote("none")
    move = a_claimed_order(status=SUBMITTED, intent=intent).failed(failure)

    assert (move.failure, move.settles) == (failure, settles)


@pytest.mark.parametrize("target", list(OrderStatus))
def test_a_cause_names_the_claim_and_the_step(target: OrderStatus) -> None:
    assert a_transition(epoch=12, target=target).cause == f"12:{target.value}"


def test_two_claims_never_have_the_same_cause() -> None:
    assert a_transition(epoch=1).cause != a_transition(epoch=11).cause


def test_one_claim_has_another_cause_for_each_step() -> None:
    causes = {a_transition(epoch=1, target=target).cause for target in OrderStatus}

    assert len(causes) == len(OrderStatus)


def test_a_move_without_quote_and_intent_has_no_venue() -> None:
    assert a_transition().venue is None


def test_a_move_with_a_quote_has_the_venue_of_the_quote() -> None:
    assert a_transition(quote=a_quote(venue=METEORA)).venue == METEORA


def test_a_move_with_an_intent_has_the_venue_of_the_intent() -> None:
    assert a_transition(intent=an_intent(venue=METEORA)).venue == METEORA


def test_the_venue_of_the_intent_comes_before_that_of_the_quote() -> None:
    move = a_transition(quote=a_quote(venue=RAYDIUM), intent=an_intent(venue=METEORA))

    assert move.venue == METEORA


def test_after_a_move_the_order_has_the_status_and_seq_of_its_event() -> None:
    claimed = a_claimed_order(status=PENDING, epoch=4, claims=3)
    later = NOON + timedelta(seconds=1)
    event = an_event(status=ROUTING, seq=2, occurred_at=later)

    after = claimed.after(claimed.started(), event)

    assert (after.order.status, after.order.seq, after.order.updated_at) == (ROUTING, 2, later)


def test_after_a_move_the_epoch_is_the_same() -> None:
    claimed = a_claimed_order(status=PENDING, epoch=4)

    assert claimed.after(claimed.started(), an_event(status=ROUTING)).epoch == 4


def test_a_move_resets_the_count_of_claims() -> None:
    claimed = a_claimed_order(status=PENDING, claims=19)

    assert claimed.after(claimed.started(), an_event(status=ROUTING)).order.claims == 0


def test_a_move_does_not_change_the_inputs_of_the_order() -> None:
    claimed = a_claimed_order(status=PENDING, min_amount_out=Decimal(7))

    after = claimed.after(claimed.started(), an_event(status=ROUTING)).order

    assert (after.id, after.amount_in, after.min_amount_out, after.created_at) == (
        claimed.order.id,
        claimed.order.amount_in,
        Decimal(7),
        claimed.order.created_at,
    )


def test_a_routed_order_remembers_its_quote_and_venue() -> None:
    claimed, quote = a_claimed_order(status=ROUTING), a_quote(venue=METEORA)

    after = claimed.after(claimed.routed(quote, [quote]), an_event(status=BUILDING))

    assert (after.quote, after.order.venue) == (quote, METEORA)


def test_a_submitted_order_holds_its_intent() -> None:
    claimed, intent = a_claimed_order(status=BUILDING), an_intent(n=1, venue=METEORA)

    after = claimed.after(claimed.submitted(intent), an_event(status=SUBMITTED))

    assert (after.intent, after.intents, after.order.venue) == (intent, 1, METEORA)


def test_a_move_without_a_venue_keeps_the_one_chosen_before() -> None:
    claimed = a_claimed_order(status=SUBMITTED, venue=METEORA, intent=an_intent(venue=METEORA))

    after = claimed.after(claimed.confirmed(a_fill()), an_event(status=CONFIRMED))

    assert after.order.venue == METEORA


def test_a_further_intent_replaces_the_one_before() -> None:
    claimed = a_claimed_order(status=SUBMITTED, intent=an_intent(n=1))
    second = an_intent(n=2, venue=METEORA)

    held = claimed.holding(second)

    assert (held.intent, held.intents) == (second, 2)


def test_a_further_intent_does_not_change_the_order() -> None:
    claimed = a_claimed_order(status=SUBMITTED, intent=an_intent(n=1))

    assert claimed.holding(an_intent(n=2)).order == claimed.order


def test_the_default_account_is_called_local() -> None:
    assert LOCAL_ACCOUNT == "local"
