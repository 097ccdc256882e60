"""A warning that repeats is written once a minute, with the number of repeats."""

from collections.abc import Mapping
from typing import Any

import pytest
import structlog
from structlog.testing import CapturingLogger

from order_engine.execution.log_repeats import KEPT_MAX, WRITE_EVERY_S, Repeats


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines() -> CapturingLogger:
    return CapturingLogger()


@pytest.fixture
def log(clock: Clock, lines: CapturingLogger) -> Any:
    return structlog.wrap_logger(lines, processors=[Repeats(clock)])


def written(lines: CapturingLogger) -> list[Mapping[str, Any]]:
    return [call.kwargs for call in lines.calls]


def test_a_repeated_warning_is_written_once_a_minute(
    log: Any, lines: CapturingLogger, clock: Clock
) -> None:
    for _ in range(3):
        for _ in range(10):
            log.warning("redis call failed", error="refused")
        clock.now += WRITE_EVERY_S

    once = {"event": "redis call failed", "error": "refused"}
    assert written(lines) == [once, once | {"repeated": 9}, once | {"repeated": 9}]


DIFFERENT: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = [
    ({"event": "a"}, {"event": "b"}),
    ({"event": "a", "error": "x"}, {"event": "a", "error": "y"}),
    ({"event": "a", "order_id": "1"}, {"event": "a", "order_id": "2"}),
    ({"event": "a", "without_redis": False}, {"event": "a", "without_redis": True}),
    ({"event": "a"}, {"event": "a", "error": "x"}),
]


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_different_warnings_are_all_written(
    log: Any, lines: CapturingLogger, first: Mapping[str, Any], second: Mapping[str, Any]
) -> None:
    for event in (first, second, first, second):
        log.warning(**event)

    assert written(lines) == [first, second]


def test_errors_with_different_exceptions_are_all_written(log: Any, lines: CapturingLogger) -> None:
    for text in ("one", "two", "one"):
        try:
            raise ValueError(text)
        except ValueError:
            log.exception("job failed")

    assert len(lines.calls) == 2


@pytest.mark.parametrize("method", ["debug", "info", "critical"])
def test_other_levels_are_always_written(log: Any, lines: CapturingLogger, method: str) -> None:
    for _ in range(3):
        getattr(log, method)("order moved")

    assert len(lines.calls) == 3


def test_the_memory_of_warnings_has_a_bound(log: Any, lines: CapturingLogger) -> None:
    for number in range(KEPT_MAX + 1):
        log.warning("hints dropped", count=number)
    log.warning("hints dropped", count=KEPT_MAX)  # remembered
    log.warning("hints dropped", count=0)  # forgotten

    assert len(lines.calls) == KEPT_MAX + 2
