"""Routes are built from OPERATIONS: every operation has an endpoint, and every path its methods."""

import pytest
from starlette.routing import Route

from order_engine.gateway.app import ROUTES
from order_engine.gateway.contract.operations import OPERATIONS
from order_engine.gateway.routes import ENDPOINTS, MethodTable, route_path, routes

TABLES = {route.path: route.app for route in ROUTES if isinstance(route.app, MethodTable)}


def test_every_operation_with_a_scope_has_an_endpoint() -> None:
    assert set(ENDPOINTS) == {operation.id for operation in OPERATIONS if operation.scope}


def test_every_path_has_exactly_the_methods_of_its_operations() -> None:
    methods = {
        (method, path)
        for path, table in TABLES.items()
        for method in table.handlers
        if method != "HEAD"
    }

    assert methods == {
        (operation.method.upper(), route_path(operation.path)) for operation in OPERATIONS
    }


def test_an_operation_without_a_handler_stops_the_start() -> None:
    with pytest.raises(KeyError, match="getHealth"):
        routes({})


def test_a_path_without_parameters_comes_before_those_that_also_match_it() -> None:
    paths = [route.path for route in ROUTES if isinstance(route, Route)]

    assert paths.index("/api/orders/execute") < paths.index("/api/orders/{order_id}")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/health", "/health"),
        ("/api/orders/{orderId}/cancel", "/api/orders/{order_id}/cancel"),
        ("/api/stream-tokens", "/api/stream-tokens"),
    ],
)
def test_parameters_of_routes_are_in_snake_case(path: str, expected: str) -> None:
    assert route_path(path) == expected
