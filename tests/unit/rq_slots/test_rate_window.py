"""The process's own count of starts. The count in Redis has integration tests."""

import threading

import pytest
import redis

from rq_slots.rate_window import NO_LIMIT, WINDOW_S, RateWindow


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def a_window(clock: Clock, *, limit: int = 10) -> RateWindow:
    """A window that never calls its client."""
    return RateWindow(redis.Redis(), key="starts", limit=limit, clock=clock)


def start(window: RateWindow, count: int) -> float:
    return window.settle_local(window.reserve_local(count), started=count)


def test_reservations_stop_at_the_limit(clock: Clock) -> None:
    allowance = a_window(clock).reserve_local(25)

    assert (allowance.reserved, allowance.available) == (10, 10)


def test_two_calls_do_not_reserve_the_same_start(clock: Clock) -> None:
    window = a_window(clock)

    assert [window.reserve_local(6).reserved for _ in range(3)] == [6, 4, 0]


def test_a_reserved_start_that_did_not_happen_is_available_again(clock: Clock) -> None:
    window = a_window(clock)
    window.settle_local(window.reserve_local(10), started=3)

    assert window.reserve_local(10).reserved == 7


def test_starts_leave_the_window_after_60_s(clock: Clock) -> None:
    window = a_window(clock)
    start(window, 10)
    clock.now_s += WINDOW_S - 0.01
    assert window.reserve_local(1).reserved == 0
    clock.now_s += 0.01

    assert window.reserve_local(10).reserved == 10


def test_a_start_counts_from_its_settlement_and_not_from_its_reservation(clock: Clock) -> None:
    window = a_window(clock)
    allowance = window.reserve_local(10)
    clock.now_s += 5
    window.settle_local(allowance, started=10)
    clock.now_s += WINDOW_S - 5

    assert window.reserve_local(1).reserved == 0


def test_a_full_window_returns_the_time_until_a_start_leaves(clock: Clock) -> None:
    window = a_window(clock)
    start(window, 4)
    clock.now_s += 20
    start(window, 6)

    assert window.reserve_local(1).wait_s == pytest.approx(40)


def test_a_window_full_of_reservations_returns_no_wait(clock: Clock) -> None:
    window = a_window(clock)
    window.reserve_local(10)

    assert window.reserve_local(1).wait_s == 0


def test_a_refund_removes_a_start_of_its_own_time(clock: Clock) -> None:
    window = a_window(clock)
    start(window, 5)
    clock.now_s += 30
    later = start(window, 5)
    window.refund_local([later] * 2)
    clock.now_s += 30  # the first five have left; three of the others have not

    assert window.reserve_local(10).reserved == 7


def test_a_refund_after_60_s_changes_nothing(clock: Clock) -> None:
    window = a_window(clock)
    started_at = start(window, 10)
    clock.now_s += WINDOW_S
    window.refund_local([started_at] * 10)

    assert window.reserve_local(25).reserved == 10


def test_starts_are_not_counted_without_a_limit(clock: Clock) -> None:
    window = a_window(clock, limit=0)
    started_at = start(window, 5_000)
    window.refund_local([started_at])

    assert (window.reserve_local(7).reserved, window.reserve_local(7).available) == (7, NO_LIMIT)


def test_threads_together_do_not_exceed_the_limit(clock: Clock) -> None:
    window = a_window(clock, limit=1_000)
    started: list[int] = []

    def work() -> None:
        for _ in range(200):
            allowance = window.reserve_local(3)
            window.settle_local(allowance, started=allowance.reserved)
            started.append(allowance.reserved)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(started) == 1_000
