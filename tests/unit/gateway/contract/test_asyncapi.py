"""The AsyncAPI document, and the code of the streams that it must agree with."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator

from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.frames import FRAME_FIELDS, frame
from order_engine.execution.messages.stream_contract import (
    AFTER_MAX,
    CLOSE_MEANINGS,
    ERROR_MEANINGS,
    Close,
    StreamErrorCode,
)
from order_engine.gateway.contract.asyncapi import MESSAGES, document
from order_engine.serving import bounds
from order_engine.ws_gateway.command_loop import ERROR_CODES
from order_engine.ws_gateway.sockets import PING
from support.builders import an_event

DOCUMENT = json.loads(json.dumps(document()))


def refs(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from refs(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from refs(inner)


def found(ref: str) -> Any:
    part: Any = DOCUMENT
    for name in ref.removeprefix("#/").split("/"):
        part = part[name]
    return part


def is_valid(message: Any, name: str) -> bool:
    payload = DOCUMENT["components"]["messages"][name]["payload"]
    return Draft7Validator({"allOf": [payload], "components": DOCUMENT["components"]}).is_valid(
        message
    )


def test_every_reference_resolves() -> None:
    assert all(found(ref) for ref in refs(DOCUMENT))


def test_every_message_belongs_to_a_channel() -> None:
    named = {name for channel in DOCUMENT["channels"].values() for name in channel["messages"]}

    assert named == set(MESSAGES)


def test_every_close_code_has_a_meaning() -> None:
    assert set(CLOSE_MEANINGS) == set(Close)


def test_the_meanings_name_the_bounds_of_the_server() -> None:
    slow, big = CLOSE_MEANINGS[Close.SLOW_MESSAGE], CLOSE_MEANINGS[Close.MESSAGE_TOO_BIG]

    assert f" {bounds.MESSAGE_WITHIN_S:g} seconds " in slow
    assert f" {bounds.MESSAGE_BYTES_MAX // 1024} KiB" in big


def test_every_error_code_is_sent_and_has_a_meaning() -> None:
    assert set(ERROR_MEANINGS) == set(ERROR_CODES.values()) == set(StreamErrorCode)


def test_after_has_the_bound_of_the_streams() -> None:
    query = DOCUMENT["channels"]["orderStream"]["bindings"]["ws"]["query"]["properties"]
    field = DOCUMENT["components"]["schemas"]["Subscribe"]["properties"]["after"]

    assert query["after"]["maximum"] == field["maximum"] == AFTER_MAX


def test_every_field_of_a_frame_is_described() -> None:
    described = set(DOCUMENT["components"]["schemas"]["StatusFrame"]["properties"])

    assert described == {"orderId", "seq", "status", "timestamp", *FRAME_FIELDS}


@pytest.mark.parametrize("status", OrderStatus)
def test_a_frame_of_any_status_is_valid(status: OrderStatus) -> None:
    payload = {"txHash": "0xfeed", "executedPrice": "1.49500000", "errorCode": "cancelled"}
    full = frame(an_event(status=status, payload=payload))

    assert is_valid(full, "status")
    assert is_valid(frame(an_event(status=status)), "status")


def test_a_ping_is_valid() -> None:
    assert is_valid(json.loads(PING), "ping")


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("message", [{}, [], "ping", {"type": "pong"}, {"op": "follow"}, None])
def test_other_messages_are_not_valid(message: Any, name: str) -> None:
    assert not is_valid(message, name)
