"""The AsyncAPI document by itself, and the code of both doors that it must not differ from."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator

from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.frames import FRAME_FIELDS, frame
from order_engine.gateway.contract.asyncapi import CLOSE_CODES, ERROR_CODES, MESSAGES, document
from order_engine.serving import bounds
from order_engine.ws_gateway import command_loop as listening
from order_engine.ws_gateway.close_codes import Close
from order_engine.ws_gateway.commands import AFTER_MAX
from order_engine.ws_gateway.sockets import PING
from support.builders import an_event

DOCUMENT = json.loads(json.dumps(document()))
BY_THE_PROTOCOL = {1002, 1007, 1008, 1009, 1011}  # below the application


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


def test_what_is_referred_to_is_there() -> None:
    assert all(found(ref) for ref in refs(DOCUMENT))


def test_every_message_travels_on_some_channel() -> None:
    named = {name for channel in DOCUMENT["channels"].values() for name in channel["messages"]}

    assert named == set(MESSAGES)


def test_every_close_code_of_the_door_is_described_and_no_other() -> None:
    assert set(CLOSE_CODES) == set(Close) | BY_THE_PROTOCOL


def test_the_time_for_a_message_is_described() -> None:
    assert f" {bounds.MESSAGE_WITHIN_S:g} seconds " in CLOSE_CODES[1008]


def test_every_error_of_the_door_is_described_and_no_other() -> None:
    assert set(ERROR_CODES) == set(listening.ERROR_CODES.values())


def test_a_seq_is_bounded_as_the_door_bounds_it() -> None:
    query = DOCUMENT["channels"]["orderStream"]["bindings"]["ws"]["query"]["properties"]
    field = DOCUMENT["components"]["schemas"]["Subscribe"]["properties"]["after"]

    assert query["after"]["maximum"] == field["maximum"] == AFTER_MAX


def test_a_frame_has_no_field_that_is_not_described() -> None:
    described = set(DOCUMENT["components"]["schemas"]["StatusFrame"]["properties"])

    assert described == {"orderId", "seq", "status", "timestamp", *FRAME_FIELDS}


@pytest.mark.parametrize("status", OrderStatus)
def test_a_frame_of_any_status_is_as_described(status: OrderStatus) -> None:
    payload = {"txHash": "0xfeed", "executedPrice": "1.49500000", "errorCode": "cancelled"}
    told = frame(an_event(status=status, payload=payload))

    assert is_valid(told, "status")
    assert is_valid(frame(an_event(status=status)), "status")


def test_a_ping_is_as_described() -> None:
    assert is_valid(json.loads(PING), "ping")


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("message", [{}, [], "ping", {"type": "pong"}, {"op": "follow"}, None])
def test_what_is_no_message_is_none_of_these(message: Any, name: str) -> None:
    assert not is_valid(message, name)
