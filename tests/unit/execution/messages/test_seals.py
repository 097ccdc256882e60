import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from order_engine.execution.domain.errors import StoreUnavailable
from order_engine.execution.messages.seals import SEAL_CHARS, Seal

SECRET = b"s" * 32
TEXT = '{"orderId":"o","seq":2,"status":"routing"}'


class Table:
    """Returns the given answers in turn, like a PostgreSQL that is starting."""

    def __init__(self, *answers: Sequence[Mapping[str, Any]] | Exception) -> None:
        self._answers = list(answers)

    async def rows(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_sealed_text_opens_to_the_same_text() -> None:
    seal = Seal(SECRET)

    assert seal.open(seal.close(TEXT).encode()) == TEXT


def test_a_seal_is_32_hexadecimal_digits_before_the_text() -> None:
    message = Seal(SECRET).close(TEXT)

    assert message[SEAL_CHARS:] == TEXT
    assert len(bytes.fromhex(message[:SEAL_CHARS])) == 16


def test_text_that_is_not_ascii_is_preserved() -> None:
    seal = Seal(SECRET)

    assert (
        seal.open(seal.close('{"errorReason":"zu spät"}').encode()) == '{"errorReason":"zu spät"}'
    )


@pytest.mark.parametrize("at", range(SEAL_CHARS + len(TEXT)))
def test_a_message_with_any_byte_changed_does_not_open(at: int) -> None:
    seal = Seal(SECRET)
    message = bytearray(seal.close(TEXT).encode())
    message[at] ^= 1

    assert seal.open(bytes(message)) is None


@pytest.mark.parametrize(
    "message", [b"", b"{}", TEXT.encode(), b"-" * 32 + TEXT.encode(), b"\xff" * 80]
)
def test_an_unsealed_message_does_not_open(message: bytes) -> None:
    assert Seal(SECRET).open(message) is None


def test_a_seal_of_another_secret_does_not_open() -> None:
    assert Seal(SECRET).open(Seal(b"t" * 32).close(TEXT).encode()) is None


def test_a_locked_seal_opens_no_message_even_its_own() -> None:
    locked = Seal()

    assert locked.open(locked.close(TEXT).encode()) is None
    assert locked.open(Seal(SECRET).close(TEXT).encode()) is None


def test_a_message_sealed_while_locked_never_opens() -> None:
    assert Seal(SECRET).open(Seal().close(TEXT).encode()) is None


def test_a_seal_is_unlocked_once_postgresql_returns_the_secret() -> None:
    seal = Seal()
    table = Table(
        StoreUnavailable("away"), RuntimeError("no such table yet"), [], [{"secret": SECRET}]
    )
    asyncio.run(seal.unlock(table))

    assert seal.close(TEXT) == Seal(SECRET).close(TEXT)
