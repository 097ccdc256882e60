"""Which orders a list asks for: filters, and a cursor that stands behind the last order told."""

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
from order_engine.gateway.contract.field_errors import said
from order_engine.gateway.contract.fields import Account, Token, described_by
from order_engine.gateway.contract.problems import FieldError, InvalidQuery

PARAMETERS_MAX = 20
REPEATABLE = frozenset({"status"})
RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)
CURSOR = re.compile(r"[A-Za-z0-9_-]{1,128}")


def _moment(text: Any, parse: ValidatorFunctionWrapHandler) -> datetime:
    """A timestamp and not a number of seconds, which pydantic would also take."""
    if RFC_3339.fullmatch(text):
        with suppress(ValidationError):
            return in_utc(parse(text))
    raise ValueError("must be a time such as 2026-01-31T12:00:00Z")


def in_utc(moment: datetime) -> datetime:
    """PostgreSQL knows no offset of 16 hours and more; datetime no moment before the year 1."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        farthest = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)
        return farthest[moment.year == MINYEAR]


Moment = Annotated[AwareDatetime, WrapValidator(_moment)]


class Query(BaseModel):
    """What stands behind the `?`; a parameter that nobody knows is refused, not overlooked."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)


class KeyQuery(Query):
    """The query of GET /api/keys."""

    account_id: Annotated[
        Account | None, Field(description="Only keys of this account.", examples=["acme"])
    ] = None


def _digits(text: Any) -> Any:
    """Only as JSON writes them: pydantic would take 1_0, 5.0 and blanks too."""
    if isinstance(text, str) and not (text.isascii() and text.isdigit()):
        raise ValueError("must be a whole number")
    return text


class ListQuery(Query):
    """The query of GET /api/orders."""

    status: Annotated[
        Sequence[OrderStatus],
        Field(
            max_length=len(OrderStatus),
            description="Only orders of this status; repeated, of any of these.",
        ),
    ] = ()
    token_in: Annotated[
        Token | None, Field(description="Only orders that swap this token.", examples=["SOL"])
    ] = None
    token_out: Annotated[
        Token | None, Field(description="Only orders that swap into this token.", examples=["USDC"])
    ] = None
    after: Annotated[
        Moment | None,
        Field(
            description="Only orders whose `createdAt` is after this moment.",
            examples=["2026-01-31T12:00:00Z"],
        ),
    ] = None
    before: Annotated[
        Moment | None,
        Field(
            description="Only orders whose `createdAt` is before this moment.",
            examples=["2036-01-31T12:00:00Z"],
        ),
    ] = None
    limit: Annotated[
        int,
        Field(ge=1, le=200, description="How many orders to tell at most."),
        BeforeValidator(_digits),
    ] = 50
    cursor: Annotated[
        Annotated[str, Field(json_schema_extra=described_by(CURSOR))] | None,
        Field(
            description="The `nextCursor` of the page before, as it stands. Each order is told once,"
            " whatever is placed meanwhile. Keep the other filters as they were."
        ),
    ] = None

    @model_validator(mode="after")
    def _cursor_is_one_of_ours(self) -> Self:
        if self.cursor is not None:
            position(self.cursor)
        return self

    def page(self, account_id: AccountId) -> Page:
        """One order more than asked for: it tells whether there is a further page."""
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


Wanted = TypeVar("Wanted", bound=Query)


def read_query(kind: type[Wanted], query: QueryParams) -> Wanted:
    """Raises InvalidQuery."""
    values: dict[str, list[str]] = {}
    for name, value in query.multi_items():
        values.setdefault(name, []).append(value)
        if name not in REPEATABLE and len(values[name]) > 1:
            raise InvalidQuery([FieldError(pointer=name, detail="must be given once")])
        if len(values) > PARAMETERS_MAX:
            raise InvalidQuery([FieldError(pointer=name, detail="is one parameter too many")])
    given = {name: some if name in REPEATABLE else some[0] for name, some in values.items()}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise InvalidQuery(
            [
                FieldError(
                    pointer=str(fault["loc"][0]) if fault["loc"] else "cursor", detail=said(fault)
                )
                for fault in error.errors()
            ]
        ) from None


def cursor(last: Order) -> str:
    """Stands behind `last`."""
    text = f"{last.created_at.astimezone(UTC).isoformat()}|{last.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def position(text: str) -> tuple[datetime, OrderId]:
    """What `cursor` was made from; raises ValueError where it was not made by it."""
    try:
        if not CURSOR.fullmatch(text):
            raise ValueError("not of its letters")
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        moment, _, order_id = decoded.decode().partition("|")
        at = datetime.fromisoformat(moment)
        if at.tzinfo is None:
            raise ValueError("no zone")
        return in_utc(at), OrderId(UUID(order_id))
    except (ValueError, binascii.Error):
        raise ValueError("is not a cursor of this list") from None
