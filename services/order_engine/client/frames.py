"""The messages of a stream."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Discriminator, Tag, TypeAdapter, with_config

from order_engine.client.wire import CAMEL_CASE
from order_engine.execution.domain.status import FINAL, OrderStatus


@with_config(CAMEL_CASE)
@dataclass(frozen=True, slots=True, kw_only=True)
class StatusFrame:
    """One status of one order; `seq` counts the statuses from 1 without a gap."""

    order_id: UUID
    seq: int
    status: OrderStatus
    timestamp: AwareDatetime
    tx_hash: str | None = None
    executed_price: Decimal | None = None
    error_code: str | None = None
    error_reason: str | None = None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """A message other than a status: a ping, or one of a later version of the engine."""

    type: object


def _kind(message: object) -> str:
    return "aside" if isinstance(message, Mapping) and "type" in message else "frame"


# `type` alone decides: a message with a type may have the fields of a frame
MESSAGE: TypeAdapter[StatusFrame | Aside] = TypeAdapter(
    Annotated[
        Annotated[StatusFrame, Tag("frame")] | Annotated[Aside, Tag("aside")],
        Discriminator(_kind),
    ]
)
