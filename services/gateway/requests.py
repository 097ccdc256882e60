"""What a client may ask for: the order form, checked before anything is written."""

import hashlib
import json
import re
from decimal import Decimal
from typing import Annotated, Any, NoReturn, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from execution.domain.ids import OrderId
from execution.domain.order import NewOrder
from execution.domain.quote import AMOUNTS
from gateway.problems import FieldError, InvalidBody, InvalidOrder

# ASCII digits, no sign and no exponent: Decimal alone would take 1e3, 1_000 and full-width digits.
# No leading zeros either: an amount is told again as it was sent, and a numeric would lose them.
AMOUNT = re.compile(r"(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?", re.ASCII)
PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")
KEY = re.compile(r"[\x21-\x7e]{1,128}")


def _amount(text: str) -> str:
    if not AMOUNT.fullmatch(text):
        raise ValueError("must be a decimal such as 100 or 0.5: 20 digits, then up to 18 decimals")
    return text


def _positive(text: str) -> str:
    if not Decimal(text):
        raise ValueError("must be above zero")
    return text


def _token(text: str) -> str:
    if not PRINTABLE.fullmatch(text) or text != text.strip():
        raise ValueError("must be without control characters and outer blanks")
    return text


def _key(text: str) -> str:
    if not KEY.fullmatch(text):
        raise ValueError("must be 1 to 128 visible ASCII characters")
    return text


Token = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_token)]
Amount = Annotated[str, Field(max_length=39), AfterValidator(_amount)]


class OrderForm(BaseModel):
    """The body of POST /api/orders/execute; amounts are strings, slippage a number in percent."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=to_camel, validate_by_alias=True
    )

    token_in: Token
    token_out: Token
    amount_in: Annotated[Amount, AfterValidator(_positive)]
    slippage_tolerance: Annotated[
        Decimal, Field(ge=0, le=100, max_digits=21, decimal_places=18, allow_inf_nan=False)
    ]
    min_amount_out: Amount | None = None
    client_order_id: Annotated[str, AfterValidator(_key)] | None = None

    @model_validator(mode="after")
    def _two_tokens(self) -> Self:
        if self.token_in == self.token_out:
            raise ValueError("tokenIn and tokenOut are the same token")
        return self

    def order(self, order_id: OrderId, *, idempotency_key: str | None) -> NewOrder:
        """The order as it will be committed; raises InvalidOrder on two different keys."""
        if idempotency_key is not None and not KEY.fullmatch(idempotency_key):
            raise InvalidOrder(
                [FieldError("Idempotency-Key", "must be 1 to 128 visible characters")]
            )
        if None not in (idempotency_key, self.client_order_id) and (
            idempotency_key != self.client_order_id
        ):
            raise InvalidOrder(
                [FieldError("/clientOrderId", "differs from the Idempotency-Key header")]
            )
        key = idempotency_key or self.client_order_id
        return NewOrder(
            id=order_id,
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
                asked[name] = f"{Decimal(asked[name]).normalize(AMOUNTS):f}"
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def read_form(body: bytes) -> OrderForm:
    """The form in a request's body; raises InvalidBody where it is no JSON, InvalidOrder else."""
    try:
        fields = json.loads(
            body.decode(), parse_float=Decimal, parse_int=Decimal, parse_constant=_no_constant
        )
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise InvalidBody("the body is not JSON in UTF-8") from error
    if not isinstance(fields, dict):
        raise InvalidOrder([FieldError("", "the body must be a JSON object")])
    try:
        return OrderForm.model_validate(fields)
    except ValidationError as error:
        raise InvalidOrder([_field_error(fault) for fault in error.errors()]) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _field_error(fault: Any) -> FieldError:
    pointer = "".join(f"/{_escaped(str(part))}" for part in fault["loc"])
    return FieldError(pointer, fault["msg"].removeprefix("Value error, "))


def _escaped(part: str) -> str:
    """As RFC 6901 has it."""
    return part.replace("~", "~0").replace("/", "~1")
