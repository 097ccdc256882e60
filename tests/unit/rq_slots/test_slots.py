import asyncio
from collections.abc import Coroutine
from typing import Any, Literal, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rq_slots.slots import Slots

Got = TypeVar("Got")


def run(test: Coroutine[Any, Any, Got]) -> Got:
    async def within_bounds() -> Got:
        async with asyncio.timeout(10):
            return await test

    return asyncio.run(within_bounds())


async def others_ran() -> None:
    """Lets every task that can run do so, without a pause."""
    for _ in range(5):
        await asyncio.sleep(0)


async def waiting(slots: Slots, most: int = 1, timeout_s: float | None = None) -> asyncio.Task[int]:
    """A task that waits for slots, or has taken them."""
    task = asyncio.create_task(slots.take(most, timeout_s=timeout_s))
    await others_ran()
    return task


async def cancelled(task: asyncio.Task[int]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(("count", "most", "taken"), [(10, 1, 1), (10, 10, 10), (3, 10, 3)])
def test_take_returns_at_most_the_free_slots(count: int, most: int, taken: int) -> None:
    slots = Slots(count)

    assert run(slots.take(most)) == taken
    assert slots.free == count - taken


def test_a_timeout_of_0_returns_0_when_no_slot_is_free() -> None:
    async def test() -> int:
        slots = Slots(1)
        await slots.take(1)
        return await slots.take(1, timeout_s=0)

    assert run(test()) == 0


def test_a_timeout_of_0_takes_free_slots() -> None:
    assert run(Slots(2).take(2, timeout_s=0)) == 2


def test_a_waiter_gets_the_slot_that_is_given_back() -> None:
    async def test() -> int:
        slots = Slots(1)
        await slots.take(1)
        waiter = await waiting(slots)
        slots.give_back(1)
        return await waiter

    assert run(test()) == 1


def test_waiters_are_served_in_order() -> None:
    async def test() -> list[bool]:
        slots = Slots(1)
        await slots.take(1)
        waiters = [await waiting(slots) for _ in range(3)]
        slots.give_back(1)
        await others_ran()
        served = [waiter.done() for waiter in waiters]
        for waiter in waiters:
            await cancelled(waiter)
        return served

    assert run(test()) == [True, False, False]


def test_a_later_call_does_not_overtake_a_waiter() -> None:
    async def test() -> tuple[bool, int]:
        slots = Slots(1)
        await slots.take(1)
        waiter = await waiting(slots)
        slots.give_back(1)
        late = await slots.take(1, timeout_s=0)
        return waiter.done(), late

    assert run(test()) == (True, 0)


def test_the_first_waiter_gets_all_its_slots_before_the_next() -> None:
    async def test() -> tuple[int, int]:
        slots = Slots(3)
        await slots.take(3)
        first, second = await waiting(slots, 2), await waiting(slots, 2)
        slots.give_back(3)
        return await first, await second

    assert run(test()) == (2, 1)


def test_a_waiter_that_timed_out_takes_nothing() -> None:
    async def test() -> int:
        slots = Slots(1)
        await slots.take(1)
        await slots.take(1, timeout_s=0)
        slots.give_back(1)
        return slots.free

    assert run(test()) == 1


def test_a_cancelled_waiter_is_skipped() -> None:
    async def test() -> int:
        slots = Slots(1)
        await slots.take(1)
        gone, stays = await waiting(slots), await waiting(slots)
        await cancelled(gone)
        slots.give_back(1)
        return await stays

    assert run(test()) == 1


def test_a_waiter_that_is_cancelled_when_it_is_served_loses_no_slot() -> None:
    async def test() -> int:
        slots = Slots(2)
        await slots.take(2)
        waiter = await waiting(slots, 2)
        slots.give_back(2)
        await cancelled(waiter)
        return slots.free

    assert run(test()) == 2


def test_the_slot_of_a_cancelled_waiter_goes_to_the_next() -> None:
    async def test() -> int:
        slots = Slots(1)
        await slots.take(1)
        gone, next_in_turn = await waiting(slots), await waiting(slots)
        slots.give_back(1)
        await cancelled(gone)
        return await next_in_turn

    assert run(test()) == 1


Action = tuple[Literal["take", "take at once", "give back", "cancel", "others run"], int]

actions = st.lists(
    st.tuples(
        st.sampled_from(["take", "take at once", "give back", "cancel", "others run"]),
        st.integers(1, 5),
    ),
    max_size=40,
)


async def _do(actions: list[Action], slots: Slots) -> None:
    """Runs the actions, then cancels the waiting tasks and gives back all slots."""
    tasks: list[asyncio.Task[int]] = []
    held = 0

    def collect() -> None:
        nonlocal held
        for task in [task for task in tasks if task.done()]:
            tasks.remove(task)
            held += 0 if task.cancelled() else task.result()

    for action, number in actions:
        match action:
            case "take" | "take at once":
                timeout_s = 0 if action == "take at once" else None
                tasks.append(asyncio.create_task(slots.take(number, timeout_s=timeout_s)))
            case "give back":
                collect()
                given = min(number, held)
                held -= given
                slots.give_back(given)
            case "cancel" if tasks:
                tasks[number % len(tasks)].cancel()
            case "others run":
                await others_ran()
                collect()
                assert 0 <= slots.free <= slots.count
    await others_ran()
    collect()
    assert slots.free + held == slots.count
    assert not tasks or slots.free == 0, "a slot is free while a task waits"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    collect()
    slots.give_back(held)


@settings(deadline=None)
@given(actions=actions, count=st.integers(1, 6))
def test_no_slot_is_lost_or_added(actions: list[Action], count: int) -> None:
    slots = Slots(count)

    run(_do(actions, slots))

    assert slots.free == count
