import pytest

from order_engine.ws_gateway.slow_readers import (
    SLOW_CHECKS,
    STUCK_CHECKS,
    WAITING_BYTES_MAX,
    WAITING_FRAMES_MAX,
    Progress,
    Waiting,
)

LITTLE = Waiting(frames=1, size_bytes=150)
MANY = Waiting(frames=WAITING_FRAMES_MAX + 1, size_bytes=150)
MUCH = Waiting(frames=1, size_bytes=WAITING_BYTES_MAX + 1)


def without_progress(checks: int) -> Progress:
    progress = Progress().at("here")
    for _ in range(checks):
        progress = progress.at("here")
    return progress


@pytest.mark.parametrize(
    ("checks", "waiting", "bound"),
    [
        (SLOW_CHECKS - 1, MANY, None),
        (SLOW_CHECKS, MANY, "frames"),
        (SLOW_CHECKS - 1, MUCH, None),
        (SLOW_CHECKS, MUCH, "bytes"),
        (SLOW_CHECKS, LITTLE, None),
        (STUCK_CHECKS - 1, LITTLE, None),
        (STUCK_CHECKS, LITTLE, "time"),
    ],
)
def test_a_client_without_progress_exceeds_a_bound(
    checks: int, waiting: Waiting, bound: str | None
) -> None:
    assert without_progress(checks).exceeded_bound(lambda: waiting) == bound


@pytest.mark.parametrize("mark", ["there", None])
def test_who_moves_or_has_all_breaks_none(mark: object) -> None:
    progress = without_progress(STUCK_CHECKS).at(mark)

    assert progress.exceeded_bound(lambda: MANY) is None


def test_who_has_all_may_stand_still_for_ever() -> None:
    progress = Progress()
    for _ in range(10 * STUCK_CHECKS):
        progress = progress.at(None)

    assert progress.exceeded_bound(lambda: MANY) is None
