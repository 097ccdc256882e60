"""Forms: the bodies of requests, and how they are checked."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, NoReturn, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.alias_generators import to_camel

from order_engine.execution.domain.accounts import Scope
from order_engine.execution.domain.ids import AccountId, OrderId
from order_engine.execution.domain.order import NewOrder
from order_engine.execution.domain.quote import AMOUNTS
from order_engine.gateway.contract.field_errors import describe
from order_engine.gateway.contract.fields import (
    KEY,
    KEY_RULE,
    Account,
    Amount,
    Key,
    Label,
    Positive,
    Token,
)
from order_engine.gateway.contract.problems import (
    FieldError,
    InvalidBody,
    InvalidFields,
    InvalidKey,
    InvalidOrder,
)


def _fits_a_double(number: Decimal) -> Decimal:
    """Most JSON readers parse numbers as doubles: one with more digits would be read back changed."""
    if Decimal(repr(float(number))) != number:
        raise ValueError("has too many digits (15 always fit)")
    return number


class Form(BaseModel):
    """The body of a request. An invalid one raises `refusal`."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=to_camel, validate_by_alias=True
    )

    refusal: ClassVar[type[InvalidFields]]


class OrderForm(Form):
    """A market order: swap `amountIn` of `tokenIn` for `tokenOut`, which must be another token.

    Amounts are decimal strings, so that no digit is lost. Responses repeat them as they were sent.
    """

    refusal = InvalidOrder

    token_in: Annotated[Token, Field(examples=["SOL"])]
    token_out: Annotated[Token, Field(examples=["USDC"])]
    amount_in: Annotated[
        Positive,
        Field(
            description="The amount to swap: above zero, up to 20 digits and 18 decimals.",
            examples=["100.5"],
        ),
    ]
    slippage_tolerance: Annotated[
        Decimal,
        Field(
            ge=0,
            le=100,
            max_digits=21,
            decimal_places=18,
            allow_inf_nan=False,
            description="How far below its quote the swap may fill, in percent: 0.5 is half a"
            " percent. Up to 18 decimals, and at most the digits of a double (15 always fit):"
            " responses repeat it as it was sent.",
            examples=[0.5],
        ),
        AfterValidator(_fits_a_double),
        WithJsonSchema(
            {"type": "number", "format": "double", "minimum": 0, "maximum": 100},
            mode="validation",
        ),
    ]
    min_amount_out: Annotated[
        Amount | None,
        Field(
            description="The least `tokenOut` to accept: below it the order fails, whatever the slippage.",
            examples=["99"],
        ),
    ] = None
    client_order_id: Annotated[
        Key | None,
        Field(
            description="The idempotency key, for clients that do not send it as a header. When both"
            " are sent, they must be equal.",
            examples=["order-2026-01-31-0001"],
        ),
    ] = None

    @field_validator("token_out")
    @classmethod
    def _differs_from_token_in(cls, token_out: str, info: ValidationInfo) -> str:
        if token_out == info.data.get("token_in"):
            raise ValueError("must differ from tokenIn")
        return token_out

    def order(
        self, order_id: OrderId, *, account_id: AccountId, idempotency_key: str | None
    ) -> NewOrder:
        """The order to place; raises InvalidOrder for a malformed key or two different ones."""
        if idempotency_key is not None and not KEY.fullmatch(idempotency_key):
            raise InvalidOrder([FieldError(pointer="Idempotency-Key", detail=KEY_RULE)])
        if None not in (idempotency_key, self.client_order_id) and (
            idempotency_key != self.client_order_id
        ):
            detail = "must equal the Idempotency-Key header when both are sent"
            raise InvalidOrder([FieldError(pointer="/clientOrderId", detail=detail)])
        key = idempotency_key or self.client_order_id
        return NewOrder(
            id=order_id,
            account_id=account_id,
            token_in=self.token_in,
            token_out=self.token_out,
            amount_in=Decimal(self.amount_in),
            slippage_tolerance=self.slippage_tolerance,
            min_amount_out=None if self.min_amount_out is None else Decimal(self.min_amount_out),
            idempotency_key=key,
            request_hash=self._hash() if key else None,
        )

    def _hash(self) -> str:
        """The same for equal requests: 1.5 and 1.50 are the same number."""
        fields = self.model_dump(exclude={"client_order_id"})
        for name in ("amount_in", "slippage_tolerance", "min_amount_out"):
            if fields[name] is not None:
                fields[name] = f"{Decimal(fields[name]).copy_abs().normalize(AMOUNTS):f}"  # -0 is 0
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


class KeyForm(Form):
    """The API key to create."""

    refusal = InvalidKey

    account_id: Annotated[
        Account, Field(description="The account that the key belongs to.", examples=["acme"])
    ]
    scopes: Annotated[
        Sequence[Annotated[Scope, Field(strict=False)]],
        Field(min_length=1, max_length=3, examples=[["trade", "read"]]),
    ]
    label: Annotated[
        Label,
        Field(
            description="A name for the key: up to 64 printable ASCII characters.",
            examples=["trading desk"],
        ),
    ] = ""


FormType = TypeVar("FormType", bound=Form)


def read_form(kind: type[FormType], body: bytes) -> FormType:
    """Raises InvalidBody when the body is not JSON, and the form's `refusal` for invalid fields."""
    try:
        fields = json.loads(
            body.decode(),
            parse_float=_number,
            parse_int=_number,
            parse_constant=_no_constant,
            object_pairs_hook=_object,
        )
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise InvalidBody("the body must be JSON in UTF-8") from error
    if not isinstance(fields, dict):
        raise kind.refusal([FieldError(pointer="", detail="the body must be a JSON object")])
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise kind.refusal([_field_error(each) for each in error.errors()]) from None


def _number(text: str) -> Decimal:
    """NaN, which every field refuses, when the exponent is too large for Decimal."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return Decimal("NaN")


def _object(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Refuses duplicate keys: another reader of the body could take the other value."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise InvalidBody(f"duplicate key {json.dumps(name)}")
        fields[name] = value
    return fields


def _no_constant(name: str) -> NoReturn:
    raise InvalidBody(f"{name} is not a JSON number")


def _field_error(error: Any) -> FieldError:
    pointer = "".join(f"/{_escaped(str(part))}" for part in error["loc"])
    return FieldError(pointer=pointer, detail=describe(error))


def _escaped(part: str) -> str:
    """Escaped as RFC 6901 requires."""
    return part.replace("~", "~0").replace("/", "~1")
