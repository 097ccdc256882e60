"""What the endpoints work with, opened and closed by the lifespan."""

from dataclasses import dataclass

from starlette.websockets import WebSocket

from order_engine.execution.messages.seals import Seal
from order_engine.execution.orders.repository import Orders
from order_engine.ws_gateway.admission import Admission
from order_engine.ws_gateway.feeds import Feeds
from order_engine.ws_gateway.registry import SocketRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The state of one application. `ping_s` is the silence after which a client gets a ping."""

    orders: Orders
    feeds: Feeds
    seal: Seal
    admission: Admission
    registry: SocketRegistry
    ping_s: float
    subscriptions_max: int


def services(websocket: WebSocket) -> Services:
    """The services of the application that handles the socket."""
    found: Services = websocket.app.state.services
    return found
