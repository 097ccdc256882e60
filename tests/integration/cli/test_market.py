"""`order-engine market`: prices on the board of the simulated market."""

import subprocess

import pytest

from support.cli import order_engine
from support.evidence import rows
from support.stores import Databases

BOARD = "SELECT token_in, token_out, price, volume_60s FROM chain.prices"


def market(url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return order_engine(url, "market", *arguments)


def test_a_price_is_set_replaced_and_cleared(databases: Databases) -> None:
    url = databases.chain_url
    first = market(url, "set", "SOL", "USDC", "1.6")
    second = market(url, "set", "SOL", "USDC", "1.7", "--volume=12.5")
    [row] = rows(url, BOARD)
    cleared = market(url, "clear", "SOL", "USDC")

    assert (first.returncode, first.stdout) == (0, "SOL/USDC is 1.60000000\n")
    assert (second.returncode, second.stdout) == (0, "SOL/USDC is 1.70000000\n")
    assert [str(value) for value in row.values()] == ["SOL", "USDC", "1.70000000", "12.5"]
    assert (cleared.returncode, cleared.stdout) == (0, "")
    assert rows(url, BOARD) == []


def test_a_pair_without_a_price_cannot_be_cleared(databases: Databases) -> None:
    cleared = market(databases.chain_url, "clear", "SOL", "USDC")

    assert (cleared.returncode, cleared.stdout) == (1, "SOL/USDC has no price on the board\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("SOL", "USDC", "0"),
        ("SOL", "USDC", "0.000000001"),
        ("SOL", "USDC", "nan"),
        ("SOL", "USDC", "1e30"),
        ("SOL", "USDC", "cheap"),
        ("SOL", "SOL", "1"),
        ("SOL", "USDC", "1", "--volume=-1"),
    ],
)
def test_what_is_no_price_is_refused(arguments: tuple[str, ...]) -> None:
    refused = market("postgresql://nobody@127.0.0.1:1/none", "set", *arguments)

    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr


def test_a_database_that_is_away_is_one_line() -> None:
    failed = market("postgresql://nobody@127.0.0.1:1/none", "set", "SOL", "USDC", "1.6")

    assert failed.returncode == 1
    assert "Traceback" not in failed.stdout + failed.stderr
