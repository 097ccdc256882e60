import asyncio

import pytest

from order_engine.ws_gateway.coalescing import (
    QUIET_MAX_S,
    RUSH_S,
    RUSH_WAIT_MAX_S,
    WAIT_MAX_S,
    Turns,
    leave_at,
)


def test_a_lone_call_passes_at_once() -> None:
    async def work() -> None:
        turn = Turns().turn()

        with pytest.raises(StopIteration):
            turn.send(None)  # it has waited for nothing

    asyncio.run(work())


def test_calls_of_one_moment_pass_as_two_groups() -> None:
    passed: list[int] = []

    async def call(turns: Turns, moment: list[int]) -> None:
        await turns.turn()
        passed.append(moment[0])

    async def work() -> None:
        turns, moment = Turns(), [0]
        calls = [asyncio.create_task(call(turns, moment)) for _ in range(1_000)]
        while not all(task.done() for task in calls):
            await asyncio.sleep(0)
            moment[0] += 1

    asyncio.run(work())

    assert sorted(passed.count(moment) for moment in set(passed)) == [1, 999]


def test_a_call_that_is_given_up_stops_nobody() -> None:
    async def work() -> None:
        turns = Turns()
        await turns.turn()
        first, second = (asyncio.create_task(turns.turn()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        async with asyncio.timeout(10):
            await second

        assert first.cancelled()

    asyncio.run(work())


def test_the_more_wait_the_longer_a_silence_has_to_be() -> None:
    leaves = [
        leave_at(busy_since=0.0, first_at=0.0, last_at=0.0, count=count)
        for count in (1, 10, 50, 5_000)
    ]

    assert leaves == sorted(leaves)
    assert leaves[-1] == QUIET_MAX_S


@pytest.mark.parametrize(
    ("busy_for_s", "wait_max_s"),
    [(0.0, RUSH_WAIT_MAX_S), (RUSH_S - 1, RUSH_WAIT_MAX_S), (RUSH_S, WAIT_MAX_S)],
)
def test_nobody_waits_for_all_who_come_and_come(busy_for_s: float, wait_max_s: float) -> None:
    leaves = leave_at(busy_since=0.0, first_at=busy_for_s, last_at=1_000.0, count=5_000)

    assert leaves == busy_for_s + wait_max_s
