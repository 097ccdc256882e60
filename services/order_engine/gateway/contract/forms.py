"""What a client may ask for: forms, checked before anything is written."""

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
from order_engine.gateway.contract.field_errors import said
from order_engine.gateway.contract.fields import KEY, Account, Amount, Key, Label, Positive, Token
from order_engine.gateway.contract.problems import (
    FieldError,
    InvalidBody,
    InvalidFields,
    InvalidKey,
    InvalidOrder,
)


def _told_as_sent(number: Decimal) -> Decimal:
    """Numbers go out as doubles: that is what JSON's readers make of them."""
    if Decimal(repr(float(number))) != number:
        raise ValueError("has more digits than a double holds")
    return number


class Form(BaseModel):
    """A request's body. `refusal` is what a wrong one raises."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=to_camel, validate_by_alias=True
    )

    refusal: ClassVar[type[InvalidFields]]


class OrderForm(Form):
    """A market order: swap `amountIn` of `tokenIn` for `tokenOut`, which must be another token.

    Amounts are decimal strings, so that no digit is lost; they are told again as they were sent.
    """

    refusal = InvalidOrder

    token_in: Annotated[Token, Field(examples=["SOL"])]
    token_out: Annotated[Token, Field(examples=["USDC"])]
    amount_in: Annotated[
        Positive,
        Field(
            description="How much to swap: above zero, up to 20 digits and then 18 decimals.",
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
            description="How far below its quote the swap may land, in percent: 0.5 is half a"
            " percent. Up to 18 decimals, and as many digits as a double holds, 15 at least: it is"
            " told again as it was sent.",
            examples=[0.5],
        ),
        AfterValidator(_told_as_sent),
        WithJsonSchema(
            {"type": "number", "format": "double", "minimum": 0, "maximum": 100},
            mode="validation",
        ),
    ]
    min_amount_out: Annotated[
        Amount | None,
        Field(
            description="The order fails rather than bring less than this, whatever the slippage.",
            examples=["99"],
        ),
    ] = None
    client_order_id: Annotated[
        Key | None,
        Field(
            description="The idempotency key, for those who would rather send it here than as a"
            " header. Where both are sent they must be equal.",
            examples=["order-2026-01-31-0001"],
        ),
    ] = None

    @field_validator("token_out")
    @classmethod
    def _another_token(cls, token_out: str, info: ValidationInfo) -> str:
        if token_out == info.data.get("token_in"):
            raise ValueError("must be another token than tokenIn")
        return token_out

    def order(
        self, order_id: OrderId, *, account_id: AccountId, idempotency_key: str | None
    ) -> NewOrder:
        """The order as it will be committed; raises InvalidOrder on two different keys."""
        if idempotency_key is not None and not KEY.fullmatch(idempotency_key):
            raise InvalidOrder(
                [
                    FieldError(
                        pointer="Idempotency-Key", detail="must be 1 to 128 visible characters"
                    )
                ]
            )
        if None not in (idempotency_key, self.client_order_id) and (
            idempotency_key != self.client_order_id
        ):
            raise InvalidOrder(
                [
                    FieldError(
                        pointer="/clientOrderId", detail="differs from the Idempotency-Key header"
                    )
                ]
            )
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
        """Equal for orders that ask for the same, however their numbers are written."""
        asked = self.model_dump(exclude={"client_order_id"})
        for name in ("amount_in", "slippage_tolerance", "min_amount_out"):
            if asked[name] is not None:
                asked[name] = f"{Decimal(asked[name]).copy_abs().normalize(AMOUNTS):f}"  # -0 is 0
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class KeyForm(Form):
    """The API key that is asked for."""

    refusal = InvalidKey

    account_id: Annotated[
        Account, Field(description="Whose orders the key opens.", examples=["acme"])
    ]
    scopes: Annotated[
        Sequence[Annotated[Scope, Field(strict=False)]],
        Field(min_length=1, max_length=3, examples=[["trade", "read"]]),
    ]
    label: Annotated[
        Label,
        Field(
            description="What you know the key by; nothing invisible in it.",
            examples=["trading desk"],
        ),
    ] = ""


Wanted = TypeVar("Wanted", bound=Form)


def read_form(kind: type[Wanted], body: bytes) -> Wanted:
    """The form in a request's body; raises InvalidBody where it is no JSON, the form's refusal else."""
    try:
        fields = json.loads(
            body.decode(),
            parse_float=_number,
            parse_int=_number,
            parse_constant=_no_constant,
            object_pairs_hook=_object,
        )
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise InvalidBody("the body is not JSON in UTF-8") from error
    if not isinstance(fields, dict):
        raise kind.refusal([FieldError(pointer="", detail="the body must be a JSON object")])
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise kind.refusal([_field_error(fault) for fault in error.errors()]) from None


def _number(text: str) -> Decimal:
    """NaN, which every field refuses, for an exponent beyond what Decimal can hold."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return Decimal("NaN")


def _object(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """Refuses a name that comes twice: whoever else reads the body might take the other value."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise InvalidBody(f"{json.dumps(name)} comes twice in one object")
        fields[name] = value
    return fields


def _no_constant(name: str) -> NoReturn:
    raise InvalidBody(f"{name} is not JSON")


def _field_error(fault: Any) -> FieldError:
    pointer = "".join(f"/{_escaped(str(part))}" for part in fault["loc"])
    return FieldError(pointer=pointer, detail=said(fault))


def _escaped(part: str) -> str:
    """As RFC 6901 has it."""
    return part.replace("~", "~0").replace("/", "~1")
