from itertools import pairwise

import pytest

from order_engine.execution.messages.stream_contract import Close
from order_engine.ws_gateway.refusals import Refused
from order_engine.ws_gateway.registry import SocketRegistry, may_stay


@pytest.mark.parametrize("count", [0, 1, 2, 7, 2_000])
def test_a_drain_closes_sockets_evenly(count: int) -> None:
    open_sockets = [may_stay(count, left_s=left_s, over_s=100.0) for left_s in range(100, -2, -1)]
    closed = [a - b for a, b in pairwise(open_sockets)]

    assert (open_sockets[0], open_sockets[-1]) == (count, 0)
    assert min(closed) >= 0
    assert max(closed) <= count // 100 + 1


def test_a_drain_of_zero_seconds_closes_all_sockets() -> None:
    assert may_stay(5, left_s=0.0, over_s=0.0) == 0


def test_a_closed_socket_no_longer_counts_towards_its_limit() -> None:
    registry = SocketRegistry({"key": 1})
    registry.take("key", "a")
    registry.take("key", "b")
    with pytest.raises(Refused) as refused:
        registry.take("key", "a")
    registry.give_back("key", "a")
    registry.take("key", "a")

    assert refused.value.code is Close.TOO_MANY
