"""Arguments that nobody meant: each is refused with one line."""

from collections.abc import Iterator, Mapping, Sequence

import pytest

from support.cli import one_line, order_engine_in
from support.gateways import running_gateway
from support.stores import Stores, fresh_databases

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0"}  # a locale that knows no other letters
NOT_UTF_8 = b"\xff"


@pytest.fixture(scope="module")
def url(stores: Stores) -> Iterator[str]:
    with fresh_databases(stores) as databases, running_gateway(databases, stores) as address:
        yield f"http://{address}"


SLIPPAGES = {
    "nan": "the slippage tolerance must be a number of percent, not nan",
    "-nan": "the slippage tolerance must be a number of percent, not nan",
    "inf": "the slippage tolerance must be a number of percent, not inf",
    "-Infinity": "the slippage tolerance must be a number of percent, not -inf",
    "1e400": "the slippage tolerance must be a number of percent, not inf",
    "-0.1": "422 invalid_order: the order has invalid fields; /slippageTolerance: ",
    "100.1": "422 invalid_order: the order has invalid fields; /slippageTolerance: ",
    "1e300": "422 invalid_order: the order has invalid fields; /slippageTolerance: ",
}


@pytest.mark.parametrize("slippage", SLIPPAGES)
def test_a_slippage_that_no_order_can_have(url: str, slippage: str) -> None:
    order = ("place", "SOL", "USDC", "1", "--url", url, f"--slippage={slippage}")

    assert one_line(order_engine_in({}, *order)).startswith(SLIPPAGES[slippage])


@pytest.mark.parametrize(
    "amount", ["nan", "NaN", "inf", "1e400", "0", "-5", "1_000", "1,5", "\u0661\u0660", "", " 1"]
)
def test_an_amount_that_no_order_can_have(url: str, amount: str) -> None:
    order = ("place", "--url", url, "--", "SOL", "USDC", amount)

    line = one_line(order_engine_in({"LC_ALL": "C.UTF-8"}, *order))

    assert line.startswith("422 invalid_order: the order has invalid fields; /amountIn: ")


TEXTS: Mapping[str, tuple[Mapping[str, str], Sequence[str | bytes], str]] = {
    "a token under LC_ALL=C": (
        {"LC_ALL": "C"},
        ("place", "S\u00d6L", "USDC", "1"),
        "422 invalid_order: the order has invalid fields; /tokenIn: ",
    ),
    "a token in an ASCII locale": (
        ASCII,
        ("place", "S\u00d6L", "USDC", "1"),
        "argument 2 is not text in the encoding of the locale, ascii",
    ),
    "a token that is not UTF-8": (
        {"LC_ALL": "C.UTF-8"},
        ("place", "SOL", NOT_UTF_8, "1"),
        "argument 3 is not text in the encoding of the locale, utf-8",
    ),
    "an amount that is not UTF-8": (
        {"LC_ALL": "C"},
        ("place", "SOL", "USDC", NOT_UTF_8),
        "argument 4 is not text in the encoding of the locale, utf-8",
    ),
    "an option that is not UTF-8": (
        {"LC_ALL": "C"},
        ("place", "SOL", "USDC", "1", b"--min-amount-out=" + NOT_UTF_8),
        "argument 5 is not text in the encoding of the locale, utf-8",
    ),
    "a label in an ASCII locale": (
        ASCII,
        ("keys", "create", "acme", "--scope", "read", "--label", "b\u00f6rse"),
        "argument 7 is not text in the encoding of the locale, ascii",
    ),
    "an API key with an umlaut": (
        {"LC_ALL": "C.UTF-8"},
        ("place", "SOL", "USDC", "1", "--api-key", "oe_\u00d6"),
        "the API key has characters that no API key has",
    ),
    "an API key with a line break": (
        {"ENGINE_API_KEY": "oe_1\noe_2"},
        ("place", "SOL", "USDC", "1"),
        "the API key has characters that no API key has",
    ),
    "an API key of the environment in an ASCII locale": (
        ASCII | {"ENGINE_API_KEY": "oe_\u00d6"},
        ("place", "SOL", "USDC", "1"),
        "the API key has characters that no API key has",
    ),
    "a URL without a scheme": (
        {"ENGINE_URL": "127.0.0.1:3000"},
        ("demo",),
        "base_url is not an http or https address: '127.0.0.1:3000'",
    ),
    "a URL in an ASCII locale": (
        ASCII | {"ENGINE_URL": "b\u00f6rse"},
        ("demo",),
        "base_url is not an http or https address: ",
    ),
    "a URL with an open bracket": (
        {"ENGINE_URL": "http://[::1"},
        ("demo",),
        "base_url is not an http or https address: ",
    ),
    "a port that does not exist": (
        {"ENGINE_URL": "http://127.0.0.1:99999"},
        ("demo",),
        "base_url is not an http or https address: ",
    ),
    "a stream URL of another scheme": (
        {"ENGINE_STREAM_URL": "ws://127.0.0.1"},
        ("follow", "019c0000-0000-7000-8000-00000000dead"),
        "base_url is not an http or https address: 'ws://127.0.0.1'",
    ),
}


@pytest.mark.parametrize(("environment", "arguments", "line"), TEXTS.values(), ids=TEXTS.keys())
def test_text_that_cannot_be_sent(
    url: str, environment: Mapping[str, str], arguments: Sequence[str | bytes], line: str
) -> None:
    printed = one_line(order_engine_in({"ENGINE_URL": url} | dict(environment), *arguments))

    assert printed.startswith(line)
    assert "oe_" not in printed


def test_an_api_key_of_a_file_may_end_with_a_newline(url: str) -> None:
    environment = {"ENGINE_URL": url, "ENGINE_API_KEY": "oe_1\n"}

    line = one_line(order_engine_in(environment, "place", "SOL", "SOL", "1"))

    assert line.startswith("422 invalid_order: ")


PROXIES = [
    {"ALL_PROXY": "socks5h://127.0.0.1:1"},
    {"all_proxy": "socks5://user:hunter2@127.0.0.1:1"},
    {"http_proxy": ":::"},
    {"HTTP_PROXY": "http://user:hunter2@proxy example"},
]


@pytest.mark.parametrize("proxies", PROXIES, ids=lambda proxies: next(iter(proxies)))
@pytest.mark.parametrize(
    "command",
    [
        ("demo",),
        ("place", "SOL", "USDC", "1"),
        ("follow", "019c0000-0000-7000-8000-00000000dead"),
    ],
    ids=lambda command: command[0],
)
def test_a_proxy_that_cannot_be_used(proxies: Mapping[str, str], command: Sequence[str]) -> None:
    line = one_line(order_engine_in({"ENGINE_URL": "http://engine.example", **proxies}, *command))

    assert line.startswith(f"the proxy in {next(iter(proxies)).upper()} ")
    assert "hunter2" not in line


@pytest.mark.parametrize("proxies", PROXIES, ids=lambda proxies: next(iter(proxies)))
def test_a_proxy_is_not_used_for_this_machine(url: str, proxies: Mapping[str, str]) -> None:
    line = one_line(order_engine_in({"ENGINE_URL": url, **proxies}, "place", "SOL", "SOL", "1"))

    assert line.startswith("422 invalid_order: ")
