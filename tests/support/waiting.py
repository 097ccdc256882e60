import time
from collections.abc import Callable
from typing import TypeVar

Fact = TypeVar("Fact")

CHECK_EVERY_S = 0.02


def wait_until(fact: Callable[[], Fact], *, timeout_s: float, what: str = "the condition") -> Fact:
    """Waits until `fact` is true and returns its result; fails the test after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (result := fact()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not become true within {timeout_s:g} s: {result!r}")
        time.sleep(CHECK_EVERY_S)
    return result
