"""The OpenAPI document by itself; tests/integration/gateway/contract/test_openapi.py asks the gateway."""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from starlette.routing import Route

from order_engine.gateway.app import ROUTES, only_post
from order_engine.gateway.contract.fields import TOKEN
from order_engine.gateway.contract.openapi import document
from order_engine.gateway.contract.operations import OPERATIONS, Operation
from order_engine.gateway.contract.problems import ANSWERS

DOCUMENT = json.loads(json.dumps(document(is_open=False)))
DESCRIBES_ITSELF = {"/openapi.json", "/asyncapi.json"}

by_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.id)


def described(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][operation.path][operation.method]
    return found


def schema(model: str) -> dict[str, Any]:
    """As JSON Schema knows it, with all that it refers to."""
    return {"$ref": f"#/components/schemas/{model}", "components": DOCUMENT["components"]}


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


# The document


@pytest.mark.parametrize("is_open", [True, False])
def test_the_document_is_openapi(is_open: bool) -> None:
    errors = OPENAPI_31_VALIDATOR.iter_errors(document(is_open=is_open))

    assert [str(error) for error in errors] == []


def test_what_is_referred_to_is_there() -> None:
    assert all(found(ref) for ref in refs(DOCUMENT))


def test_every_route_is_described_and_nothing_else() -> None:
    routes = {
        (method, re.sub(r"_(\w)", lambda found: found[1].upper(), route.path))
        for route in ROUTES
        if isinstance(route, Route)
        and route.endpoint is not only_post
        and route.path not in DESCRIBES_ITSELF
        for method in (route.methods or ())
        if method != "HEAD"
    }

    assert routes == {(operation.method.upper(), operation.path) for operation in OPERATIONS}


def test_every_refusal_of_the_engine_is_described_somewhere() -> None:
    named = {refusal for operation in OPERATIONS for refusal in operation.every_refusal}

    assert named == set(ANSWERS)


def test_only_where_keys_are_asked_for_is_one_needed() -> None:
    [keyed, opened] = [
        document(is_open=is_open)["paths"]["/api/orders"]["get"] for is_open in (False, True)
    ]

    assert keyed["security"] == [{"apiKey": []}]
    assert opened["security"] == [{"apiKey": []}, {}]


# Its operations


def test_operations_have_names_of_their_own() -> None:
    ids = [operation.id for operation in OPERATIONS]

    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[a-z]+([A-Z][a-z]+)*", each) for each in ids)


@by_operation
def test_an_operation_is_ready_to_be_read(operation: Operation) -> None:
    words = described(operation)

    assert words["summary"]
    assert words["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}
    assert all(each["description"] for each in words.get("parameters", []))
    assert all(each["description"] for each in words["responses"].values())


@by_operation
def test_a_path_names_its_parameters(operation: Operation) -> None:
    named = {each["name"] for each in operation.parameters if each["in"] == "path"}

    assert named == set(re.findall(r"{(\w+)}", operation.path))


@by_operation
def test_the_examples_of_problems_are_problems(operation: Operation) -> None:
    problems = Draft202012Validator(schema("Problem"))
    for status, response in described(operation)["responses"].items():
        for code, example in (
            response["content"].get("application/problem+json", {}).get("examples", {}).items()
        ):
            problems.validate(example["value"])
            assert (example["value"]["code"], example["value"]["status"]) == (code, int(status))


@pytest.mark.parametrize("model", ["OrderForm", "KeyForm"])
def test_a_form_of_examples_is_valid(model: str) -> None:
    fields = DOCUMENT["components"]["schemas"][model]["properties"]
    form = {name: property["examples"][0] for name, property in fields.items()}

    Draft202012Validator(schema(model)).validate(form)


def test_an_acknowledgement_leads_to_operations_on_its_order() -> None:
    by_id = {operation.id: operation for operation in OPERATIONS}
    links = described(by_id["placeOrder"])["responses"]["201"]["links"]

    for link in links.values():
        named = {each["name"] for each in by_id[link["operationId"]].parameters}
        assert set(link["parameters"]) <= named


# What its patterns say


@pytest.mark.parametrize("text", ["1", "0.1", "10.00", "0.000000000000000001", "9" * 20])
def test_an_amount_above_zero_is_one_in_the_schema(text: str) -> None:
    amount = DOCUMENT["components"]["schemas"]["OrderForm"]["properties"]["amountIn"]

    assert Draft202012Validator(amount).is_valid(text)


@pytest.mark.parametrize(
    "text", ["", "0", "0.0", "-1", "1e3", "01", "1.", ".5", "9" * 21, "\u0661"]
)
def test_anything_else_is_none(text: str) -> None:
    amount = DOCUMENT["components"]["schemas"]["OrderForm"]["properties"]["amountIn"]

    assert not Draft202012Validator(amount).is_valid(text)


def test_no_character_is_a_blank_to_python_and_none_to_the_pattern_of_tokens() -> None:
    wrong = [
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if bool(TOKEN.fullmatch(character))
        != (character == character.strip() and character not in UNWANTED_CHARACTERS)
    ]

    assert wrong == []


# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt, the same from 14 to 17
IGNORABLE_CHARACTERS = {
    *(0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810)),
    *(*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0x3164),
    *(*range(0xFE00, 0xFE10), 0xFEFF, 0xFFA0, *range(0xFFF0, 0xFFF9)),
    *(*range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000)),
}
NO_CHARACTERS = {
    *range(0xFDD0, 0xFDF0),
    *(n for n in range(sys.maxunicode + 1) if n & 0xFFFE == 0xFFFE),
}
UNWANTED_CHARACTERS = {
    chr(n)
    for n in (
        *(*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xFFF9, 0xFFFC)),
        *(*IGNORABLE_CHARACTERS, *NO_CHARACTERS),
    )
}


@pytest.mark.parametrize("name", ["tokenIn", "tokenOut"])
def test_the_schema_takes_the_same_tokens_as_the_check(name: str) -> None:
    token = Draft202012Validator(DOCUMENT["components"]["schemas"]["OrderForm"]["properties"][name])
    wrong = [
        character
        for character in (*UNWANTED_CHARACTERS, "S", "\u6c34", "\U0001f680")
        if token.is_valid(f"S{character}L") != bool(TOKEN.fullmatch(f"S{character}L"))
    ]

    assert wrong == []
