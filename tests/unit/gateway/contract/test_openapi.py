"""The OpenAPI document alone; tests/integration/gateway/contract/test_openapi.py tests it against a gateway."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from order_engine.gateway.contract.openapi import document
from order_engine.gateway.contract.operations import OPERATIONS, Operation
from order_engine.gateway.contract.problems import PROBLEMS

DOCUMENT = json.loads(json.dumps(document(is_open=False)))

by_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.id)


def described(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][operation.path][operation.method]
    return found


def schema(model: str) -> dict[str, Any]:
    """The JSON Schema of a model, with what it refers to."""
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


def test_every_reference_resolves() -> None:
    assert all(found(ref) for ref in refs(DOCUMENT))


def test_every_problem_is_described_somewhere() -> None:
    named = {error for operation in OPERATIONS for error in operation.all_problems}

    assert named == set(PROBLEMS)


def test_an_api_key_is_required_unless_the_gateway_is_open() -> None:
    [keyed, opened] = [
        document(is_open=is_open)["paths"]["/api/orders"]["get"] for is_open in (False, True)
    ]

    assert keyed["security"] == [{"apiKey": []}]
    assert opened["security"] == [{"apiKey": []}, {}]


# Operations


def test_ids_of_operations_are_unique() -> None:
    ids = [operation.id for operation in OPERATIONS]

    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[a-z]+([A-Z][a-z]+)*", each) for each in ids)


@by_operation
def test_an_operation_is_described(operation: Operation) -> None:
    found = described(operation)

    assert found["summary"]
    assert found["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}
    assert all(each["description"] for each in found.get("parameters", []))
    assert all(each["description"] for each in found["responses"].values())


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
def test_the_examples_of_a_form_are_valid(model: str) -> None:
    fields = DOCUMENT["components"]["schemas"][model]["properties"]
    form = {name: property["examples"][0] for name, property in fields.items()}

    Draft202012Validator(schema(model)).validate(form)


def test_the_links_of_an_acknowledgement_name_operations_and_parameters() -> None:
    by_id = {operation.id: operation for operation in OPERATIONS}
    links = described(by_id["placeOrder"])["responses"]["201"]["links"]

    for link in links.values():
        named = {each["name"] for each in by_id[link["operationId"]].parameters}
        assert set(link["parameters"]) <= named


# Patterns


@pytest.mark.parametrize("text", ["1", "0.1", "10.00", "0.000000000000000001", "9" * 20])
def test_the_schema_accepts_an_amount_above_zero(text: str) -> None:
    amount = DOCUMENT["components"]["schemas"]["OrderForm"]["properties"]["amountIn"]

    assert Draft202012Validator(amount).is_valid(text)


@pytest.mark.parametrize(
    "text", ["", "0", "0.0", "-1", "1e3", "01", "1.", ".5", "9" * 21, "\u0661"]
)
def test_the_schema_refuses_what_is_not_an_amount(text: str) -> None:
    amount = DOCUMENT["components"]["schemas"]["OrderForm"]["properties"]["amountIn"]

    assert not Draft202012Validator(amount).is_valid(text)


@pytest.mark.parametrize("name", ["tokenIn", "tokenOut"])
@pytest.mark.parametrize("text", ["SOL", "$WIF", "a.b_c-d", "9", "x" * 64])
def test_the_schema_accepts_a_token(name: str, text: str) -> None:
    token = DOCUMENT["components"]["schemas"]["OrderForm"]["properties"][name]

    assert Draft202012Validator(token).is_valid(text)


@pytest.mark.parametrize("name", ["tokenIn", "tokenOut"])
@pytest.mark.parametrize("text", ["", " ", "S L", "-SOL", "\u0421OL", "\u00e9t\u00e9", "x" * 65])
def test_the_schema_refuses_what_is_not_a_token(name: str, text: str) -> None:
    token = DOCUMENT["components"]["schemas"]["OrderForm"]["properties"][name]

    assert not Draft202012Validator(token).is_valid(text)


def test_tokens_of_responses_have_no_pattern_because_older_orders_have_other_tokens() -> None:
    properties = DOCUMENT["components"]["schemas"]["OrderBody"]["properties"]

    assert "pattern" not in properties["tokenIn"] | properties["tokenOut"]
