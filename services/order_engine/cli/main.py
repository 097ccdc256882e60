"""Places and follows orders, runs a demonstration, manages API keys, sets prices of the simulated
market, and prunes old orders.
"""

import asyncio
import io
import sys
from collections.abc import Awaitable
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console

from order_engine.cli.demo import run_demo
from order_engine.cli.keys import app as keys
from order_engine.cli.market import app as market
from order_engine.cli.prune import prune_orders
from order_engine.client import EngineClient, EngineError, StatusFrame

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
app.add_typer(keys, name="keys")
app.add_typer(market, name="market")
app.command("prune")(prune_orders)

Url = Annotated[str, typer.Option(envvar="ENGINE_URL", help="URL of the engine.")]
StreamUrl = Annotated[
    str | None,
    typer.Option(envvar="ENGINE_STREAM_URL", help="URL of its streams, when it is another."),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar="ENGINE_API_KEY", show_envvar=True, help="Needed unless the engine is open."
    ),
]
LOCAL = "http://127.0.0.1:3000"

console = Console()


@app.callback()
def check_text() -> None:
    """Refuses arguments that are not text, and lets everything be printed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for position, argument in enumerate(sys.argv[1:], start=1):
        try:
            argument.encode()
        except UnicodeEncodeError:  # not shown: it may be a secret
            encoding = sys.getfilesystemencoding()
            _print_error(
                f"argument {position} is not text in the encoding of the locale, {encoding}"
            )
            raise typer.Exit(2) from None


@app.command()
def demo(url: Url = LOCAL, stream_url: StreamUrl = None, api_key: ApiKey = None) -> None:
    """Place orders until each venue has executed one and one has failed; show every status."""

    async def demonstrated() -> int:
        engine = EngineClient(url, stream_base_url=stream_url, api_key=api_key)
        return await run_demo(engine, console)

    raise typer.Exit(asyncio.run(_guarded(demonstrated())))


@app.command()
def place(
    token_in: Annotated[str, typer.Argument(help="Token to sell, for example SOL.")],
    token_out: Annotated[str, typer.Argument(help="Token to buy, for example USDC.")],
    amount_in: Annotated[str, typer.Argument(help="Amount of the token to sell.")],
    slippage: Annotated[
        float, typer.Option(help="Largest accepted price change, 0 to 100 percent.")
    ] = 0.5,
    min_amount_out: Annotated[
        str | None, typer.Option(help="Fail rather than receive less.")
    ] = None,
    url: Url = LOCAL,
    stream_url: StreamUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Place one order and show every status until it ends."""

    async def placed() -> int:
        async with EngineClient(url, stream_base_url=stream_url, api_key=api_key) as engine:
            order = await engine.place_order(
                token_in=token_in,
                token_out=token_out,
                amount_in=amount_in,
                slippage_tolerance=slippage,
                min_amount_out=min_amount_out,
            )
            console.print(f"order {order.order_id}")
            return await _followed(engine, order.order_id)

    raise typer.Exit(asyncio.run(_guarded(placed())))


@app.command()
def follow(
    order_id: Annotated[UUID, typer.Argument(help="As returned when the order was placed.")],
    after: Annotated[int, typer.Option(help="Show only statuses with a higher seq.")] = 0,
    url: Url = LOCAL,
    stream_url: StreamUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Show every status of an order until it ends."""

    async def followed() -> int:
        async with EngineClient(url, stream_base_url=stream_url, api_key=api_key) as engine:
            return await _followed(engine, order_id, after=after)

    raise typer.Exit(asyncio.run(_guarded(followed())))


async def _followed(engine: EngineClient, order_id: UUID, *, after: int = 0) -> int:
    last: StatusFrame | None = None
    async for last in engine.stream(order_id, after=after):
        console.print(_line(last), soft_wrap=True)
    return 1 if last is not None and last.error_code else 0


def _line(frame: StatusFrame) -> str:
    facts = [
        frame.executed_price and f"price {frame.executed_price}",
        frame.tx_hash and f"transaction {frame.tx_hash}",
        frame.error_code and f"{frame.error_code}: {frame.error_reason}",
    ]
    known = "  ".join(fact for fact in facts if fact)
    return f"{frame.seq}  {frame.timestamp:%H:%M:%S.%f}  {frame.status:<9}  {known}".rstrip()


async def _guarded(work: Awaitable[int]) -> int:
    """The exit code of `work`; an error of the engine is one line, not a traceback."""
    try:
        return await work
    except EngineError as error:
        _print_error(str(error))
        return 1


def _print_error(text: str) -> None:
    console.print(
        " ".join(text.split()), style="red", markup=False, highlight=False, soft_wrap=True
    )
