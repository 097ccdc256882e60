"""The price board of the simulated market: prices that someone has set, for a person and for tests."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from order_engine.execution.domain.quote import Pair, rounded_price
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.statements import Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedPrice:
    """The price of a pair before fees, and its volume in the last minute when that is set, too."""

    price: Decimal
    volume_60s: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Posting:
    token_in: str
    token_out: str
    price: Decimal
    volume_60s: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    call: int
    tokens_in: Sequence[str]
    tokens_out: Sequence[str]


class PriceBoard:
    """The board, in the database of the chain. Calls raise StoreUnavailable when it is away."""

    def __init__(self, commits: GroupCommit) -> None:
        self._commits = commits
        self._calls = itertools.count()  # a key for each question

    async def prices(self, pairs: Sequence[Pair]) -> Mapping[Pair, PostedPrice]:
        """The prices of those pairs that have one."""
        return await self._commits.run(
            READ,
            _Question(
                call=next(self._calls),
                tokens_in=[pair.token_in for pair in pairs],
                tokens_out=[pair.token_out for pair in pairs],
            ),
        )

    async def post(self, pair: Pair, posted: PostedPrice) -> None:
        """Sets the price of a pair until it is cleared."""
        await self._commits.run(
            POST, _Posting(**pair._asdict(), price=posted.price, volume_60s=posted.volume_60s)
        )

    async def clear(self, pair: Pair) -> bool:
        """Gives a pair back to the market; False when it had no price on the board."""
        return await self._commits.run(CLEAR, pair)


READ: Statement[_Question, Mapping[Pair, PostedPrice]] = Statement(
    name="board_read",
    sql="""
    SELECT v.call, p.token_in, p.token_out, p.price, p.volume_60s
    FROM json_to_recordset(%(rows)s::json) AS v(call bigint, tokens_in text[], tokens_out text[])
    CROSS JOIN LATERAL unnest(v.tokens_in, v.tokens_out) AS asked(token_in, token_out)
    JOIN chain.prices p ON p.token_in = asked.token_in AND p.token_out = asked.token_out
    """,
    key=lambda question: question.call,
    answer_key=lambda row: row["call"],
    result=lambda _, rows: {
        Pair(row["token_in"], row["token_out"]): PostedPrice(
            price=rounded_price(row["price"]), volume_60s=row["volume_60s"]
        )
        for row in rows
    },
)

POST: Statement[_Posting, None] = Statement(
    name="board_post",
    sql="""
    INSERT INTO chain.prices (token_in, token_out, price, volume_60s)
    SELECT token_in, token_out, price, volume_60s
    FROM json_to_recordset(%(rows)s::json) AS v(
        token_in text, token_out text, price numeric, volume_60s numeric)
    ON CONFLICT (token_in, token_out) DO UPDATE
    SET price = excluded.price, volume_60s = excluded.volume_60s, set_at = now()
    RETURNING token_in, token_out
    """,
    key=lambda posting: (posting.token_in, posting.token_out),
    answer_key=lambda row: (row["token_in"], row["token_out"]),
    result=lambda _, rows: None,
)

CLEAR: Statement[Pair, bool] = Statement(
    name="board_clear",
    sql="""
    DELETE FROM chain.prices p
    USING json_to_recordset(%(rows)s::json) AS v(token_in text, token_out text)
    WHERE p.token_in = v.token_in AND p.token_out = v.token_out
    RETURNING p.token_in, p.token_out
    """,
    key=lambda pair: pair,
    row=lambda pair: pair._asdict(),
    answer_key=lambda row: Pair(row["token_in"], row["token_out"]),
    result=lambda _, rows: bool(rows),
)
