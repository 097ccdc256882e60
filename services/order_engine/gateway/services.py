"""What the endpoints work with, opened and closed by the lifespan."""

from dataclasses import dataclass

from starlette.requests import Request

from order_engine.execution.accounts.api_keys import ApiKeys
from order_engine.execution.accounts.stream_tokens import StreamTokens
from order_engine.execution.orders.repository import Orders
from order_engine.gateway.middleware.access import AccessPolicy
from order_engine.gateway.monitor import Monitor


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The state of one application."""

    orders: Orders
    keys: ApiKeys
    stream_tokens: StreamTokens
    monitor: Monitor
    access: AccessPolicy
    body_bytes_max: int


def services(request: Request) -> Services:
    """The services of the application that handles the request."""
    found: Services = request.app.state.services
    return found
