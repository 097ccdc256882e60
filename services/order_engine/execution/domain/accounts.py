"""Accounts, and what an API key of an account may do."""

from dataclasses import dataclass
from enum import StrEnum

from order_engine.execution.domain.ids import AccountId
from order_engine.execution.domain.order import LOCAL_ACCOUNT

ACCOUNT_PATTERN = "[a-z0-9][a-z0-9._-]{0,63}"
LABEL_CHARS_MAX = 64


class Scope(StrEnum):
    """What an API key may be used for; no scope includes another."""

    TRADE = "trade"  # place and cancel orders
    READ = "read"  # orders, their events and their streams
    ADMIN = "admin"  # create, list and revoke the keys of all accounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The account that a request is made for. `key_id` is None in open mode, which needs no key."""

    account_id: AccountId
    scopes: frozenset[Scope]
    key_id: str | None = None


ANYONE = Caller(account_id=LOCAL_ACCOUNT, scopes=frozenset(Scope))
