import pytest

from order_engine.ws_gateway.slow_readers import (
    SLOW_LOOKS,
    STUCK_LOOKS,
    WAITING_BYTES_MAX,
    WAITING_FRAMES_MAX,
    Progress,
    Waiting,
)

LITTLE = Waiting(frames=1, size_bytes=150)
MANY = Waiting(frames=WAITING_FRAMES_MAX + 1, size_bytes=150)
MUCH = Waiting(frames=1, size_bytes=WAITING_BYTES_MAX + 1)


def standing_still(looks: int) -> Progress:
    progress = Progress().at("here")
    for _ in range(looks):
        progress = progress.at("here")
    return progress


@pytest.mark.parametrize(
    ("looks", "waiting", "bound"),
    [
        (SLOW_LOOKS - 1, MANY, None),
        (SLOW_LOOKS, MANY, "frames"),
        (SLOW_LOOKS - 1, MUCH, None),
        (SLOW_LOOKS, MUCH, "bytes"),
        (SLOW_LOOKS, LITTLE, None),
        (STUCK_LOOKS - 1, LITTLE, None),
        (STUCK_LOOKS, LITTLE, "time"),
    ],
)
def test_who_stands_still_breaks_a_bound(looks: int, waiting: Waiting, bound: str | None) -> None:
    assert standing_still(looks).broken_bound(lambda: waiting) == bound


@pytest.mark.parametrize("mark", ["there", None])
def test_who_moves_or_has_all_breaks_none(mark: object) -> None:
    progress = standing_still(STUCK_LOOKS).at(mark)

    assert progress.broken_bound(lambda: MANY) is None


def test_who_has_all_may_stand_still_for_ever() -> None:
    progress = Progress()
    for _ in range(10 * STUCK_LOOKS):
        progress = progress.at(None)

    assert progress.broken_bound(lambda: MANY) is None
