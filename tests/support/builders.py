"""Values of the domain, valid by default; a test names only the fields that matter to it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from order_engine.execution.domain.errors import VenueRejected
from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import AccountId, OrderId
from order_engine.execution.domain.order import ClaimedOrder, NewOrder, Order, Transition
from order_engine.execution.domain.quote import Quote, VenueName
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.domain.transaction import Fill, Intent, Signature, Transaction

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ORDER_ID = OrderId(UUID("019c0000-0000-7000-8000-000000000001"))
RAYDIUM = VenueName("raydium")

# The seq of an order that reached its status by the shortest path.
SEQS = {
    OrderStatus.PENDING: 1,
    OrderStatus.ROUTING: 2,
    OrderStatus.BUILDING: 3,
    OrderStatus.SUBMITTED: 4,
    OrderStatus.CONFIRMED: 5,
    OrderStatus.FAILED: 2,
}


def a_new_order(**named: Any) -> NewOrder:
    order = NewOrder(
        id=ORDER_ID,
        token_in="SOL",
        token_out="USDC",
        amount_in=Decimal(100),
        slippage_tolerance=Decimal("0.5"),
    )
    return replace(order, **named)


def an_order(*, status: OrderStatus = OrderStatus.PENDING, **named: Any) -> Order:
    order = Order(
        id=ORDER_ID,
        account_id=AccountId("local"),
        token_in="SOL",
        token_out="USDC",
        amount_in=Decimal(100),
        slippage_tolerance=Decimal("0.5"),
        status=status,
        seq=SEQS[status],
        attempts=0,
        claims=1,
        venue=None,
        executed_price=None,
        amount_out=None,
        tx_hash=None,
        error_code=None,
        error_reason=None,
        created_at=NOON,
        updated_at=NOON,
    )
    return replace(order, **named)


def a_claimed_order(
    *,
    status: OrderStatus = OrderStatus.PENDING,
    epoch: int = 1,
    intent: Intent | None = None,
    quote: Quote | None = None,
    **named: Any,
) -> ClaimedOrder:
    """`named` are fields of the order."""
    return ClaimedOrder(
        order=an_order(status=status, **named),
        epoch=epoch,
        intent=intent,
        intents=intent.n if intent else 0,
        quote=quote,
    )


def a_quote(**named: Any) -> Quote:
    quote = Quote(
        venue=RAYDIUM,
        price=Decimal("1.5"),
        fee_rate=Decimal("0.0025"),
        amount_in=Decimal(100),
        expires_at=NOON + timedelta(seconds=30),
    )
    return replace(quote, **named)


def a_transaction(**named: Any) -> Transaction:
    transaction = Transaction(
        signature=Signature("0xfeed"),
        content=b"signed",
        valid_until=NOON + timedelta(seconds=30),
    )
    return replace(transaction, **named)


def an_intent(**named: Any) -> Intent:
    intent = Intent(n=1, venue=RAYDIUM, transaction=a_transaction(), quote={})
    return replace(intent, **named)


def a_fill(**named: Any) -> Fill:
    fill = Fill(
        signature=Signature("0xfeed"), executed_price=Decimal("1.495"), amount_out=Decimal("149.5")
    )
    return replace(fill, **named)


def a_move(claimed: ClaimedOrder, target: OrderStatus) -> Transition:
    """The move of an order to `target`; a new intent has a signature of its own."""
    intent = claimed.intent
    match target:
        case OrderStatus.ROUTING:
            return claimed.started()
        case OrderStatus.BUILDING:
            return claimed.routed(a_quote(), [a_quote()])
        case OrderStatus.SUBMITTED:
            return claimed.submitted(a_next_intent(claimed))
        case OrderStatus.CONFIRMED:
            return claimed.confirmed(a_fill_of(intent) if intent else a_fill())
        case OrderStatus.FAILED:
            return claimed.failed(VenueRejected("the venue said no"))
    raise AssertionError(f"nothing moves to {target}")


def a_next_intent(claimed: ClaimedOrder) -> Intent:
    signature = Signature(f"0x{uuid4().hex}")
    return an_intent(n=claimed.intents + 1, transaction=a_transaction(signature=signature))


def a_fill_of(intent: Intent) -> Fill:
    return a_fill(signature=intent.transaction.signature)


def a_transition(**named: Any) -> Transition:
    transition = Transition(
        order_id=ORDER_ID, epoch=1, source=OrderStatus.PENDING, target=OrderStatus.ROUTING
    )
    return replace(transition, **named)


def an_event(*, status: OrderStatus = OrderStatus.PENDING, **named: Any) -> OrderEvent:
    event = OrderEvent(
        order_id=ORDER_ID, seq=SEQS[status], status=status, occurred_at=NOON, payload={}
    )
    return replace(event, **named)
