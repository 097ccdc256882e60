from itertools import pairwise

import pytest

from order_engine.execution.messages.stream_contract import Close
from order_engine.ws_gateway.refusals import Refused
from order_engine.ws_gateway.registry import SocketRegistry, may_stay


@pytest.mark.parametrize("count", [0, 1, 2, 7, 2_000])
def test_a_drain_goes_evenly_from_all_to_none(count: int) -> None:
    open_sockets = [may_stay(count, left_s=left_s, over_s=100.0) for left_s in range(100, -2, -1)]
    leaving = [a - b for a, b in pairwise(open_sockets)]

    assert (open_sockets[0], open_sockets[-1]) == (count, 0)
    assert min(leaving) >= 0
    assert max(leaving) <= count // 100 + 1


def test_a_drain_without_time_keeps_no_socket() -> None:
    assert may_stay(5, left_s=0.0, over_s=0.0) == 0


def test_a_place_is_free_again_when_its_holder_has_left() -> None:
    registry = SocketRegistry({"key": 1})
    with (
        registry.counted("key", "a"),
        registry.counted("key", "b"),
        pytest.raises(Refused) as refused,
    ):
        registry.counted("key", "a").__enter__()
    with registry.counted("key", "a"):
        pass

    assert refused.value.code is Close.TOO_MANY
