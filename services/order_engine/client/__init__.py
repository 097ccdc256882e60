"""The engine's typed client: `from order_engine.client import EngineClient`."""

from order_engine.client.answers import Acknowledgement, Cancellation, Health, OrderView
from order_engine.client.api import EngineClient
from order_engine.client.errors import (
    EngineError,
    EngineUnavailable,
    FieldError,
    InvalidArgument,
    OrderNotFound,
    ProxyUnusable,
    RequestRefused,
    StreamLost,
    StreamRefused,
    TooManyRequests,
    UnexpectedAnswer,
)
from order_engine.client.frames import StatusFrame

__all__ = [
    "Acknowledgement",
    "Cancellation",
    "EngineClient",
    "EngineError",
    "EngineUnavailable",
    "FieldError",
    "Health",
    "InvalidArgument",
    "OrderNotFound",
    "OrderView",
    "ProxyUnusable",
    "RequestRefused",
    "StatusFrame",
    "StreamLost",
    "StreamRefused",
    "TooManyRequests",
    "UnexpectedAnswer",
]
