"""Set and clear prices of the simulated market (CHAIN_DATABASE_URL, else DATABASE_URL).

The venues quote them while VENUE_PRICE_BOARD is true, as it is under `make run`.
"""

from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from typing import Annotated, NoReturn

import typer

from order_engine.cli.stores import console, end
from order_engine.execution.domain.quote import PRICE_STEP, Pair, rounded_price
from order_engine.execution.setting_sources import read_settings
from order_engine.execution.settings import ChainSettings
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.venues.simulated.board import PostedPrice, PriceBoard

NAME = "order-engine-market"
PRICE_END = Decimal("1e20")

app = typer.Typer(help=__doc__, no_args_is_help=True)

TokenIn = Annotated[str, typer.Argument(help="The token that a swap sells.")]
TokenOut = Annotated[str, typer.Argument(help="The token that a swap buys.")]


@app.command("set")
def set_(
    token_in: TokenIn,
    token_out: TokenOut,
    price: Annotated[str, typer.Argument(help="TOKEN_OUT for one TOKEN_IN, before fees.")],
    volume: Annotated[
        str | None, typer.Option(help="TOKEN_IN that was swapped in the last minute.")
    ] = None,
) -> None:
    """Have both venues quote this price from now on."""
    pair = _pair(token_in, token_out)
    posted = PostedPrice(
        price=rounded_price(_number(price, least=PRICE_STEP)),
        volume_60s=None if volume is None else _number(volume, least=Decimal(0)),
    )

    async def posting(board: PriceBoard) -> int:
        await board.post(pair, posted)
        console.print(f"{pair} is {posted.price}", markup=False, highlight=False)
        return 0

    _end(posting)


@app.command()
def clear(token_in: TokenIn, token_out: TokenOut) -> None:
    """Leave the price of a pair to the market again."""
    pair = _pair(token_in, token_out)

    async def clearing(board: PriceBoard) -> int:
        if await board.clear(pair):
            return 0
        console.print(f"{pair} has no price on the board", style="red", markup=False)
        return 1

    _end(clearing)


def _pair(token_in: str, token_out: str) -> Pair:
    if token_in == token_out:
        raise typer.BadParameter("the tokens must differ")
    return Pair(token_in, token_out)


def _number(text: str, *, least: Decimal) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or not least <= number < PRICE_END:
        raise typer.BadParameter(f"{text!r} is not a number from {least:f} to {PRICE_END:f}")
    return number


def _end(work: Callable[[PriceBoard], Awaitable[int]]) -> NoReturn:
    async def with_board() -> int:
        commits = GroupCommit(read_settings(ChainSettings).ledger_url, application_name=NAME)
        try:
            return await work(PriceBoard(commits))
        finally:
            commits.close()

    end(with_board())
