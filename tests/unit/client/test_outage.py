import pytest

from order_engine.client.outage import FIRST_PAUSE_MAX_S, Outage


def an_outage(*, within_s: float = 60.0, pause_max_s: float = 5.0) -> Outage:
    return Outage(within_s=within_s, pause_max_s=pause_max_s)


def test_the_first_pause_is_short() -> None:
    pause_s = an_outage().next_pause_s(now=0.0)

    assert pause_s is not None
    assert 0 <= pause_s <= FIRST_PAUSE_MAX_S


def test_no_pause_exceeds_the_maximum() -> None:
    outage = an_outage(within_s=1e9, pause_max_s=0.5)
    pauses = [outage.next_pause_s(now=float(attempt)) for attempt in range(2000)]

    assert max(pause_s for pause_s in pauses if pause_s is not None) <= 0.5


def test_pauses_grow_with_the_outage() -> None:
    outage = an_outage(within_s=1e9)
    pauses = [outage.next_pause_s(now=float(attempt)) for attempt in range(100)]

    assert max(pause_s for pause_s in pauses if pause_s is not None) > FIRST_PAUSE_MAX_S


def test_the_timeout_counts_from_the_first_loss() -> None:
    outage = an_outage(within_s=60.0)
    outage.next_pause_s(now=1000.0)
    outage.next_pause_s(now=1059.0)

    assert outage.next_pause_s(now=1060.0) is None


def test_the_last_pause_ends_at_the_timeout() -> None:
    outage = an_outage(within_s=60.0)
    outage.next_pause_s(now=0.0)

    assert outage.next_pause_s(now=60.0 - 1e-9) == pytest.approx(0, abs=1e-8)


def test_a_message_restarts_the_timeout() -> None:
    outage = an_outage(within_s=60.0)
    outage.next_pause_s(now=0.0)
    outage.end()

    assert outage.next_pause_s(now=1000.0) is not None


def test_a_message_resets_the_pauses() -> None:
    outage = an_outage(within_s=1e9)
    for attempt in range(20):
        outage.next_pause_s(now=float(attempt))
    outage.end()
    pause_s = outage.next_pause_s(now=20.0)

    assert pause_s is not None
    assert pause_s <= FIRST_PAUSE_MAX_S
