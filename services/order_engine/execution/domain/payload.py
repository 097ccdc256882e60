"""The payload of an event: what became known with a move, keyed and formatted as on the wire."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from order_engine.execution.domain.errors import OrderFailed
from order_engine.execution.domain.quote import Quote
from order_engine.execution.domain.transaction import Fill, Intent

Payload = Mapping[str, Any]


def route_payload(chosen: Quote, quotes: Sequence[Quote]) -> Payload:
    return {"dexType": chosen.venue, "quotes": [quote_payload(quote) for quote in quotes]}


def intent_payload(intent: Intent) -> Payload:
    return {"dexType": intent.venue}


def fill_payload(fill: Fill, intent: Intent) -> Payload:
    return {
        "txHash": fill.signature,
        "executedPrice": price_text(fill.executed_price),
        "amountOut": amount_text(fill.amount_out),
        "dexType": intent.venue,
    }


def failure_payload(failure: OrderFailed) -> Payload:
    return {"errorCode": failure.code, "errorReason": str(failure)}


def quote_payload(quote: Quote) -> Payload:
    return {
        "dexType": quote.venue,
        "price": price_text(quote.price),
        "feeRate": str(quote.fee_rate),
        "effectivePrice": price_text(quote.effective_price),
        "amountOut": amount_text(quote.amount_out),
    }


def price_text(price: Decimal) -> str:
    return f"{price:.8f}"


def amount_text(amount: Decimal) -> str:
    """All digits, never an exponent."""
    return f"{amount:f}"
