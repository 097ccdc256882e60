"""The payloads of all moves, byte for byte: clients read them as the history of an order."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from order_engine.execution.domain.errors import NoLiveQuote
from order_engine.execution.domain.order import Transition
from order_engine.execution.domain.payload import amount_text, price_text
from order_engine.execution.domain.quote import VenueName
from order_engine.execution.domain.status import OrderStatus
from support.builders import a_claimed_order, a_fill, a_quote, an_intent

METEORA = VenueName("meteora")
QUOTES = [a_quote(fee_rate=Decimal("0.0025")), a_quote(venue=METEORA, price=Decimal("1.51"))]
IN_HAND = an_intent(venue=METEORA)
FILL = a_fill(executed_price=Decimal("1.5"), amount_out=Decimal("1E+3"))

MOVES: Mapping[str, tuple[Transition, Mapping[str, Any]]] = {
    "started": (a_claimed_order(status=OrderStatus.PENDING).started(), {}),
    "routed": (
        a_claimed_order(status=OrderStatus.ROUTING).routed(QUOTES[1], QUOTES),
        {
            "dexType": "meteora",
            "quotes": [
                {
                    "dexType": "raydium",
                    "price": "1.50000000",
                    "feeRate": "0.0025",
                    "effectivePrice": "1.49625000",
                    "amountOut": "149.62500000",
                },
                {
                    "dexType": "meteora",
                    "price": "1.51000000",
                    "feeRate": "0.0025",
                    "effectivePrice": "1.50622500",
                    "amountOut": "150.62250000",
                },
            ],
        },
    ),
    "submitted": (
        a_claimed_order(status=OrderStatus.BUILDING).submitted(IN_HAND),
        {"dexType": "meteora"},
    ),
    "confirmed": (
        a_claimed_order(status=OrderStatus.SUBMITTED, intent=IN_HAND).confirmed(FILL),
        {
            "txHash": "0xfeed",
            "executedPrice": "1.50000000",
            "amountOut": "1000",
            "dexType": "meteora",
        },
    ),
    "failed": (
        a_claimed_order(status=OrderStatus.ROUTING).failed(NoLiveQuote("no quote")),
        {"errorCode": "no_live_quote", "errorReason": "no quote"},
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_the_payload_of_a_move_holds_what_became_known_with_it(name: str) -> None:
    move, payload = MOVES[name]

    assert json.dumps(move.payload) == json.dumps(payload)


@pytest.mark.parametrize(
    ("price", "text"), [("1.5", "1.50000000"), ("0", "0.00000000"), ("1E+2", "100.00000000")]
)
def test_a_price_has_eight_decimals(price: str, text: str) -> None:
    assert price_text(Decimal(price)) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [("1E-18", "0.000000000000000001"), ("1E+19", "1" + "0" * 19), ("2.0", "2.0")],
)
def test_an_amount_has_all_its_digits_and_no_exponent(amount: str, text: str) -> None:
    assert amount_text(Decimal(amount)) == text
