import time
from collections.abc import Callable
from typing import TypeVar

Fact = TypeVar("Fact")

LOOK_EVERY_S = 0.02


def wait_until(fact: Callable[[], Fact], *, timeout_s: float, what: str = "the fact") -> Fact:
    """The first true result of `fact`; fails the test when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while not (answer := fact()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout_s:g} s: {answer!r}")
        time.sleep(LOOK_EVERY_S)
    return answer
