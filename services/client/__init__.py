"""The engine's typed client: `from client import EngineClient`."""

from client.answers import Acknowledgement, Cancellation, Health, OrderView
from client.api import EngineClient
from client.errors import (
    EngineError,
    EngineUnavailable,
    FieldError,
    OrderNotFound,
    RequestRefused,
    StreamLost,
    StreamRefused,
    TooManyRequests,
    UnexpectedAnswer,
)
from client.frames import StatusFrame

__all__ = [
    "Acknowledgement",
    "Cancellation",
    "EngineClient",
    "EngineError",
    "EngineUnavailable",
    "FieldError",
    "Health",
    "OrderNotFound",
    "OrderView",
    "RequestRefused",
    "StatusFrame",
    "StreamLost",
    "StreamRefused",
    "TooManyRequests",
    "UnexpectedAnswer",
]
