import pytest

from order_engine.ws_gateway.slow_readers import (
    SLOW_CHECKS,
    STUCK_CHECKS,
    WAITING_BYTES_MAX,
    WAITING_FRAMES_MAX,
    Progress,
    Waiting,
)

FEW_BYTES = Waiting(frames=1, size_bytes=150)
TOO_MANY_FRAMES = Waiting(frames=WAITING_FRAMES_MAX + 1, size_bytes=150)
TOO_MANY_BYTES = Waiting(frames=1, size_bytes=WAITING_BYTES_MAX + 1)


def without_progress(checks: int) -> Progress:
    progress = Progress().at("here")
    for _ in range(checks):
        progress = progress.at("here")
    return progress


@pytest.mark.parametrize(
    ("checks", "waiting", "bound"),
    [
        (SLOW_CHECKS - 1, TOO_MANY_FRAMES, None),
        (SLOW_CHECKS, TOO_MANY_FRAMES, "frames"),
        (SLOW_CHECKS - 1, TOO_MANY_BYTES, None),
        (SLOW_CHECKS, TOO_MANY_BYTES, "bytes"),
        (SLOW_CHECKS, FEW_BYTES, None),
        (STUCK_CHECKS - 1, FEW_BYTES, None),
        (STUCK_CHECKS, FEW_BYTES, "time"),
    ],
)
def test_a_client_without_progress_exceeds_a_bound(
    checks: int, waiting: Waiting, bound: str | None
) -> None:
    assert without_progress(checks).exceeded_bound(lambda: waiting) == bound


@pytest.mark.parametrize("mark", ["there", None])
def test_a_client_that_makes_progress_or_has_all_frames_exceeds_no_bound(mark: object) -> None:
    progress = without_progress(STUCK_CHECKS).at(mark)

    assert progress.exceeded_bound(lambda: TOO_MANY_FRAMES) is None


def test_a_client_that_has_all_frames_never_exceeds_a_bound() -> None:
    progress = Progress()
    for _ in range(10 * STUCK_CHECKS):
        progress = progress.at(None)

    assert progress.exceeded_bound(lambda: TOO_MANY_FRAMES) is None
