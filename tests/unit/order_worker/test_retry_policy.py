import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.order_worker.executor import BACKOFF_MAX_S, RetryPolicy

SAMPLES = 200


def a_policy(*, backoff_s: float = 1.0) -> RetryPolicy:
    return RetryPolicy(attempts_max=20, backoff_s=backoff_s)


@pytest.mark.parametrize(
    ("attempt", "longest_s"),
    [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 16.0), (6, 32.0), (7, 60.0), (20, 60.0)],
)
def test_the_delay_doubles_and_half_of_it_is_random(attempt: int, longest_s: float) -> None:
    delays_s = [a_policy().delay_s(attempt) for _ in range(SAMPLES)]

    assert longest_s / 2 <= min(delays_s)
    assert max(delays_s) <= longest_s


def test_random_delays_spread_over_their_range() -> None:
    delays_s = [a_policy(backoff_s=8.0).delay_s(1) for _ in range(SAMPLES)]

    assert min(delays_s) < 5.0
    assert max(delays_s) > 7.0


def test_a_backoff_of_zero_retries_at_once() -> None:
    assert a_policy(backoff_s=0.0).delay_s(20) == 0


def test_no_delay_is_longer_than_a_minute() -> None:
    assert BACKOFF_MAX_S == 60


@given(attempt=st.integers(1, 20), backoff_s=st.floats(0, 3600))
def test_every_delay_is_within_its_bounds(attempt: int, backoff_s: float) -> None:
    longest_s = min(backoff_s * 2 ** (attempt - 1), 60.0)

    assert longest_s / 2 <= a_policy(backoff_s=backoff_s).delay_s(attempt) <= longest_s
