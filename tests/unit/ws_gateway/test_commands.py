import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest

from order_engine.execution.domain.errors import OrderNotFound
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.messages.stream_contract import AFTER_MAX
from order_engine.ws_gateway.commands import (
    BadRequest,
    Subscribe,
    Unsubscribe,
    echoed_id,
    parse_after,
    parse_command,
    parse_object,
)

TEXT = "019c0000-0000-7000-8000-000000000abc"
ORDER_ID = OrderId(UUID(TEXT))


@pytest.mark.parametrize(
    ("fields", "command"),
    [
        ({"op": "subscribe", "orderId": TEXT}, Subscribe(order_id=ORDER_ID, after=0)),
        ({"op": "subscribe", "orderId": TEXT, "after": 3}, Subscribe(order_id=ORDER_ID, after=3)),
        (
            {"op": "subscribe", "orderId": TEXT.upper(), "after": AFTER_MAX},
            Subscribe(order_id=ORDER_ID, after=AFTER_MAX),
        ),
        ({"op": "unsubscribe", "orderId": TEXT, "more": 1}, Unsubscribe(order_id=ORDER_ID)),
    ],
)
def test_a_valid_command_is_parsed(
    fields: Mapping[str, Any], command: Subscribe | Unsubscribe
) -> None:
    assert parse_command(parse_object({"text": json.dumps(fields)})) == command


@pytest.mark.parametrize(
    "message",
    [{}, {"text": None}, {"bytes": b"{}"}, *({"text": t} for t in ("", "{", "[]", "1", '"x"'))],
)
def test_a_message_that_is_not_an_object_is_a_bad_request(message: Mapping[str, Any]) -> None:
    with pytest.raises(BadRequest):
        parse_object(message)


@pytest.mark.parametrize("op", ["subscribe", "unsubscribe"])
@pytest.mark.parametrize(
    "text", ["", "42", TEXT.replace("-", ""), f"{{{TEXT}}}", f"urn:uuid:{TEXT}"]
)
def test_an_invalid_id_is_not_found(op: str, text: str) -> None:
    with pytest.raises(OrderNotFound):
        parse_command({"op": op, "orderId": text})


@pytest.mark.parametrize(("text", "after"), [("0", 0), ("007", 7), ("999999999", AFTER_MAX)])
def test_a_valid_after_is_parsed(text: str, after: int) -> None:
    assert parse_after(text) == after


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.5", "1e3", "x", "٣", "1234567890", "1_0"])
def test_an_invalid_after_is_none(text: str) -> None:
    assert parse_after(text) is None


@pytest.mark.parametrize(
    ("order_id", "echo"),
    [
        (TEXT, {"orderId": TEXT}),
        ("\U0001f600", {"orderId": "\U0001f600"}),
        ("x" * 65, {}),
        ("\ud800", {}),
        ("x\udfff", {}),
        (7, {}),
        (None, {}),
        ([TEXT], {}),
    ],
)
def test_an_order_id_is_echoed_when_it_is_a_short_valid_string(
    order_id: object, echo: Mapping[str, str]
) -> None:
    assert echoed_id({"orderId": order_id}) == echo
