"""Who asks, and what they may do."""

from dataclasses import dataclass
from enum import StrEnum

from order_engine.execution.domain.ids import AccountId
from order_engine.execution.domain.order import LOCAL_ACCOUNT

ACCOUNT_PATTERN = "[a-z0-9][a-z0-9._-]{0,63}"
LABEL_CHARS_MAX = 64


class Scope(StrEnum):
    """What an API key opens; none of them includes another."""

    TRADE = "trade"  # place and cancel orders
    READ = "read"  # orders, their events and their streams
    ADMIN = "admin"  # make, list and revoke keys of every account


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An account at the door. `key_id` is None in open mode, where nobody shows a key."""

    account_id: AccountId
    scopes: frozenset[Scope]
    key_id: str | None = None


ANYONE = Caller(account_id=LOCAL_ACCOUNT, scopes=frozenset(Scope))
