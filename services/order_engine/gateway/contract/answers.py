"""The bodies of responses."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.responses import Response

from order_engine.execution.accounts.api_keys import ApiKey
from order_engine.execution.domain.accounts import Scope
from order_engine.execution.domain.errors import OrderFailed
from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import Order
from order_engine.execution.domain.payload import amount_text, price_text
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.messages.frames import timestamp
from order_engine.execution.orders.cancellation import CANCELLED
from order_engine.gateway.contract.schemas import REF, Schemas

Amount = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$", examples=["100.5"])]
Price = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]{8}$", examples=["1.49500000"])]
Id = Annotated[
    str,
    Field(json_schema_extra={"format": "uuid"}, examples=["019c0000-0000-7000-8000-000000000001"]),
]
Timestamp = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
        json_schema_extra={"format": "date-time"},
        examples=["2026-01-31T12:00:00.000Z"],
    ),
]


class Answer(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        json_schema_serialization_defaults_required=True,
    )

    def response(
        self, status_code: int = 200, *, headers: Mapping[str, str] | None = None
    ) -> Response:
        return Response(
            self.model_dump_json(by_alias=True),
            status_code,
            headers=headers,
            media_type="application/json",
        )


class Success(Answer):
    success: Literal[True] = True


class Accepted(Success):
    """The order is committed, by this request or by an earlier one with the same key."""

    order_id: Id
    status: OrderStatus
    message: str = "Order created and queued for execution"


ACCEPTED = b'{"success":true,"orderId":"%s","status":"%s","message":"Order created and queued for execution"}'
JSON_HEADERS = ((b"content-type", b"application/json"),)


class OrderBody(Answer):
    """The current state of an order. Fields that are not known yet, or were not sent, are null."""

    order_id: Id
    type: Literal["market"]
    token_in: Annotated[str, Field(examples=["SOL"])]
    token_out: Annotated[str, Field(examples=["USDC"])]
    amount_in: Amount
    slippage_tolerance: Annotated[float, Field(ge=0, le=100, description="In percent.")]
    min_amount_out: Amount | None
    status: OrderStatus
    dex_type: Annotated[
        str | None, Field(description="The chosen venue.", examples=["raydium", "meteora"])
    ]
    executed_price: Annotated[
        Price | None, Field(description="`tokenOut` for one `tokenIn`, after fees.")
    ]
    amount_out: Annotated[Amount | None, Field(description="`tokenOut` received.")]
    tx_hash: Annotated[str | None, Field(description="The transaction that filled the order.")]
    error_code: Annotated[
        str | None,
        Field(
            description="Why the order failed; stable. Codes may be added.",
            examples=[CANCELLED, *sorted(kind.code for kind in OrderFailed.__subclasses__())],
        ),
    ]
    error_reason: Annotated[str | None, Field(description="The reason as a text.")]
    created_at: Timestamp
    updated_at: Timestamp


class OneOrder(Success):
    order: OrderBody


class OrderPage(Success):
    """Newest first. Send `nextCursor` as `cursor` to get the next page; null on the last."""

    orders: Sequence[OrderBody]
    next_cursor: str | None


class QuoteBody(Answer):
    """The quote of one venue. The order goes to the highest `effectivePrice`."""

    dex_type: str
    price: Price
    fee_rate: Amount
    effective_price: Price
    amount_out: Amount


class Facts(Answer):
    """Fields that an event may have. All are optional, and fields may be added."""

    dex_type: Annotated[str, Field(description="The chosen venue, at `building`.")]
    quotes: Annotated[Sequence[QuoteBody], Field(description="The quotes that were compared.")]
    tx_hash: Annotated[str, Field(description="The transaction that filled the order.")]
    executed_price: Price
    amount_out: Amount
    error_code: Annotated[str, Field(description="Why the order failed, at `failed`; stable.")]
    error_reason: Annotated[str, Field(description="The reason as a text.")]


def _add_facts(schema: dict[str, Any]) -> None:
    """An event has the fields of its payload, so the schema lists the possible ones as optional."""
    facts = Facts.model_json_schema(
        mode="serialization", ref_template=REF, schema_generator=Schemas
    )
    schema["properties"] |= facts["properties"]


class EventBody(Answer):
    """One status of an order. `seq` counts from 1. Some statuses have further fields."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_add_facts)

    seq: Annotated[int, Field(ge=1)]
    status: OrderStatus
    timestamp: Timestamp


class Events(Success):
    events: Sequence[EventBody]


class Cancelled(Success):
    order_id: Id
    status: OrderStatus


class KeyBody(Answer):
    """An API key without its secret. `lastUsedAt` is exact to one minute."""

    id: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    account_id: str
    scopes: Sequence[Scope]
    label: str
    created_at: Timestamp
    last_used_at: Timestamp | None
    revoked_at: Timestamp | None


class OneKey(Success):
    key: KeyBody


class NewKey(Success):
    """Send `secret` as the bearer token. Only this response shows it."""

    key: KeyBody
    secret: Annotated[str, Field(pattern="^oe_[0-9a-f]{16}_[0-9a-f]{64}$")]


class AllKeys(Success):
    keys: Sequence[KeyBody]


class StreamToken(Success):
    """Opens one stream within `expiresIn` seconds: `?token=...`"""

    token: Annotated[str, Field(pattern="^oest_[0-9a-f]{64}$")]
    expires_in: int


class Healthy(Answer):
    status: Literal["ok"] = "ok"
    timestamp: Timestamp


def accepted(
    order_id: OrderId, status: OrderStatus, status_code: int, *headers: tuple[bytes, bytes]
) -> Response:
    """The response of `Accepted`, formatted: it is the one that must be fast."""
    body = ACCEPTED % (str(order_id).encode(), status.encode())
    response = Response(status_code=status_code)
    response.body = body
    length = str(len(body)).encode()
    response.raw_headers = [(b"content-length", length), *JSON_HEADERS, *headers]
    return response


def order_body(order: Order) -> OrderBody:
    return OrderBody(
        order_id=str(order.id),
        type="market",
        token_in=order.token_in,
        token_out=order.token_out,
        amount_in=amount_text(order.amount_in),
        slippage_tolerance=float(order.slippage_tolerance),
        min_amount_out=None if order.min_amount_out is None else amount_text(order.min_amount_out),
        status=order.status,
        dex_type=order.venue,
        executed_price=None if order.executed_price is None else price_text(order.executed_price),
        amount_out=None if order.amount_out is None else amount_text(order.amount_out),
        tx_hash=order.tx_hash,
        error_code=order.error_code,
        error_reason=order.error_reason,
        created_at=timestamp(order.created_at),
        updated_at=timestamp(order.updated_at),
    )


def event_body(event: OrderEvent) -> EventBody:
    payload: dict[str, Any] = dict(event.payload)
    return EventBody(
        seq=event.seq, status=event.status, timestamp=timestamp(event.occurred_at), **payload
    )


def key_body(key: ApiKey) -> KeyBody:
    return KeyBody(
        id=key.id,
        account_id=key.account_id,
        scopes=sorted(key.scopes),
        label=key.label,
        created_at=timestamp(key.created_at),
        last_used_at=key.last_used_at and timestamp(key.last_used_at),
        revoked_at=key.revoked_at and timestamp(key.revoked_at),
    )
