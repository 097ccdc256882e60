"""What a process counts itself. What Redis counts is tested with a Redis."""

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
    """Its client is never asked for anything."""
    return RateWindow(redis.Redis(), key="starts", limit=limit, clock=clock)


def start(window: RateWindow, count: int) -> float:
    return window.settle_local(window.reserve_local(count), started=count)


def test_no_more_is_reserved_than_the_limit(clock: Clock) -> None:
    own = a_window(clock).reserve_local(25)

    assert (own.reserved, own.available) == (10, 10)


def test_what_one_call_has_reserved_another_cannot(clock: Clock) -> None:
    window = a_window(clock)

    assert [window.reserve_local(6).reserved for _ in range(3)] == [6, 4, 0]


def test_what_was_reserved_and_not_started_is_free_again(clock: Clock) -> None:
    window = a_window(clock)
    window.settle_local(window.reserve_local(10), started=3)

    assert window.reserve_local(10).reserved == 7


def test_starts_leave_after_a_minute(clock: Clock) -> None:
    window = a_window(clock)
    start(window, 10)
    clock.now_s += WINDOW_S - 0.01
    assert window.reserve_local(1).reserved == 0
    clock.now_s += 0.01

    assert window.reserve_local(10).reserved == 10


def test_a_start_counts_from_when_it_was_settled_and_not_from_its_reservation(clock: Clock) -> None:
    window = a_window(clock)
    own = window.reserve_local(10)
    clock.now_s += 5
    window.settle_local(own, started=10)
    clock.now_s += WINDOW_S - 5

    assert window.reserve_local(1).reserved == 0


def test_a_full_window_says_when_the_first_will_leave(clock: Clock) -> None:
    window = a_window(clock)
    start(window, 4)
    clock.now_s += 20
    start(window, 6)

    assert window.reserve_local(1).wait_s == pytest.approx(40)


def test_a_window_that_is_only_reserved_names_no_wait(clock: Clock) -> None:
    window = a_window(clock)
    window.reserve_local(10)

    assert window.reserve_local(1).wait_s == 0


def test_a_start_that_was_none_is_forgotten_by_its_own_moment(clock: Clock) -> None:
    window = a_window(clock)
    start(window, 5)
    clock.now_s += 30
    later = start(window, 5)
    window.refund_local([later] * 2)
    clock.now_s += 30  # the earlier five have left, three later ones have not

    assert window.reserve_local(10).reserved == 7


def test_a_refund_after_its_minute_gives_nothing(clock: Clock) -> None:
    window = a_window(clock)
    moment = start(window, 10)
    clock.now_s += WINDOW_S
    window.refund_local([moment] * 10)

    assert window.reserve_local(25).reserved == 10


def test_without_a_limit_nothing_is_counted(clock: Clock) -> None:
    window = a_window(clock, limit=0)
    moment = start(window, 5_000)
    window.refund_local([moment])

    assert (window.reserve_local(7).reserved, window.reserve_local(7).available) == (7, NO_LIMIT)


def test_threads_together_start_no_more_than_the_limit(clock: Clock) -> None:
    window = a_window(clock, limit=1_000)
    started: list[int] = []

    def work() -> None:
        for _ in range(200):
            own = window.reserve_local(3)
            window.settle_local(own, started=own.reserved)
            started.append(own.reserved)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(started) == 1_000
