"""Queries of lists: filters, and the cursor of the next page."""

import base64
import binascii
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import MINYEAR, UTC, datetime
from typing import Annotated, Any, Self, TypeVar
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from starlette.datastructures import QueryParams

from order_engine.execution.domain.ids import AccountId, OrderId
from order_engine.execution.domain.order import Order
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.reads import Page
from order_engine.gateway.contract.field_errors import describe
from order_engine.gateway.contract.fields import Account, Token, described_by
from order_engine.gateway.contract.problems import FieldError, InvalidQuery

PARAMETERS_MAX = 20
REPEATABLE = frozenset({"status"})
RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)
CURSOR = re.compile(r"[A-Za-z0-9_-]{1,128}")


def _time(text: Any, parse: ValidatorFunctionWrapHandler) -> datetime:
    """An RFC 3339 time; pydantic alone would also accept a number of seconds."""
    if RFC_3339.fullmatch(text):
        with suppress(ValidationError):
            return in_utc(parse(text))
    raise ValueError("must be an RFC 3339 time such as 2026-01-31T12:00:00Z")


def in_utc(time: datetime) -> datetime:
    """In UTC, because PostgreSQL accepts no offset of 16 hours or more.

    A time that UTC would put before the year 1 or after 9999 becomes the first or the last one.
    """
    try:
        return time.astimezone(UTC)
    except OverflowError:
        if time.year == MINYEAR:
            return datetime.min.replace(tzinfo=UTC)
        return datetime.max.replace(tzinfo=UTC)


Time = Annotated[AwareDatetime, WrapValidator(_time)]


class Query(BaseModel):
    """The query parameters of an operation; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)


class KeyQuery(Query):
    """The query of GET /api/keys."""

    account_id: Annotated[
        Account | None, Field(description="Only keys of this account.", examples=["acme"])
    ] = None


def _digits(text: Any) -> Any:
    """Decimal digits only; pydantic would also accept 1_0, 5.0 and spaces."""
    if isinstance(text, str) and not (text.isascii() and text.isdigit()):
        raise ValueError("must be a whole number")
    return text


class ListQuery(Query):
    """The query of GET /api/orders."""

    status: Annotated[
        Sequence[OrderStatus],
        Field(
            max_length=len(OrderStatus),
            description="Only orders with this status. Repeat it to list orders with any of several.",
        ),
    ] = ()
    token_in: Annotated[
        Token | None, Field(description="Only orders that swap this token.", examples=["SOL"])
    ] = None
    token_out: Annotated[
        Token | None, Field(description="Only orders that swap into this token.", examples=["USDC"])
    ] = None
    after: Annotated[
        Time | None,
        Field(
            description="Only orders with a `createdAt` after this time.",
            examples=["2026-01-31T12:00:00Z"],
        ),
    ] = None
    before: Annotated[
        Time | None,
        Field(
            description="Only orders with a `createdAt` before this time.",
            examples=["2036-01-31T12:00:00Z"],
        ),
    ] = None
    limit: Annotated[
        int,
        Field(ge=1, le=200, description="The most orders to return."),
        BeforeValidator(_digits),
    ] = 50
    cursor: Annotated[
        Annotated[str, Field(json_schema_extra=described_by(CURSOR))] | None,
        Field(
            description="The `nextCursor` of the previous page, unchanged. Keep the other parameters."
            " Each order is listed once, even when orders are placed meanwhile."
        ),
    ] = None

    @model_validator(mode="after")
    def _cursor_is_valid(self) -> Self:
        if self.cursor is not None:
            position(self.cursor)
        return self

    def page(self, account_id: AccountId) -> Page:
        """Asks for one order more than `limit`: it shows whether there is another page."""
        return Page(
            account_id=account_id,
            most=self.limit + 1,
            statuses=self.status,
            token_in=self.token_in,
            token_out=self.token_out,
            since=self.after,
            until=self.before,
            beyond=None if self.cursor is None else position(self.cursor),
        )


QueryType = TypeVar("QueryType", bound=Query)


def read_query(kind: type[QueryType], query: QueryParams) -> QueryType:
    """Raises InvalidQuery."""
    values: dict[str, list[str]] = {}
    for name, value in query.multi_items():
        values.setdefault(name, []).append(value)
        if name not in REPEATABLE and len(values[name]) > 1:
            raise InvalidQuery([FieldError(pointer=name, detail="must be sent once")])
        if len(values) > PARAMETERS_MAX:
            detail = f"too many query parameters (at most {PARAMETERS_MAX})"
            raise InvalidQuery([FieldError(pointer=name, detail=detail)])
    given = {name: some if name in REPEATABLE else some[0] for name, some in values.items()}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise InvalidQuery(
            [
                FieldError(
                    pointer=str(each["loc"][0]) if each["loc"] else "cursor", detail=describe(each)
                )
                for each in error.errors()
            ]
        ) from None


def cursor(last: Order) -> str:
    """The cursor of the page that follows `last`."""
    text = f"{last.created_at.astimezone(UTC).isoformat()}|{last.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def position(text: str) -> tuple[datetime, OrderId]:
    """The time and id in a cursor; raises ValueError when `cursor` has not made it."""
    try:
        if not CURSOR.fullmatch(text):
            raise ValueError("not base64url")
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        time, _, order_id = decoded.decode().partition("|")
        at = datetime.fromisoformat(time)
        if at.tzinfo is None:
            raise ValueError("no time zone")
        return in_utc(at), OrderId(UUID(order_id))
    except (ValueError, binascii.Error):
        raise ValueError("invalid cursor (send the nextCursor of a page)") from None
