import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import pytest

from order_engine.execution.domain.errors import Overloaded
from order_engine.execution.stores.batches import Batches

Got = TypeVar("Got")
DEADLINE_S = 10


def run(test: Coroutine[Any, Any, Got]) -> Got:
    async def within_bounds() -> Got:
        async with asyncio.timeout(DEADLINE_S):
            return await test

    return asyncio.run(within_bounds())


class Doubler:
    """Doubles its items and records its batches; the item `hold` blocks it until `go_on` is set."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.held = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, items: Sequence[Any]) -> list[Any]:
        self.batches.append(list(items))
        if "hold" in items:
            self.held.set()
            await self.go_on.wait()
        return [item if isinstance(item, Exception) else item * 2 for item in items]


def batches_of(
    doubler: Doubler, *, batch_max: int = 100, backlog_max: int = 100
) -> Batches[Any, Any]:
    return Batches(doubler, name="test", batch_max=batch_max, backlog_max=backlog_max)


async def hold(batches: Batches[Any, Any], doubler: Doubler) -> None:
    """Starts a batch that runs until `go_on` is set."""
    assert batches.offer(["hold"]) == 0
    await doubler.held.wait()


def test_a_single_call_runs_alone() -> None:
    async def test() -> tuple[list[int], list[list[Any]]]:
        doubler = Doubler()
        batches = batches_of(doubler)
        return [await batches.submit(item) for item in (1, 2, 3)], doubler.batches

    assert run(test()) == ([2, 4, 6], [[1], [2], [3]])


def test_calls_of_one_turn_of_the_loop_share_a_batch() -> None:
    async def test() -> list[list[Any]]:
        doubler = Doubler()
        batches = batches_of(doubler)
        await asyncio.gather(*(batches.submit(item) for item in range(3)))
        return doubler.batches

    assert run(test()) == [[0, 1, 2]]


def test_calls_that_arrive_while_a_batch_runs_form_the_next_batch() -> None:
    async def test() -> tuple[list[int], list[list[Any]]]:
        doubler = Doubler()
        batches = batches_of(doubler)
        await hold(batches, doubler)
        calls = [batches.submit(item) for item in range(20)]
        doubler.go_on.set()
        return list(await asyncio.gather(*calls)), doubler.batches

    results, batches = run(test())

    assert results == [item * 2 for item in range(20)]
    assert batches == [["hold"], list(range(20))]


def test_no_batch_is_larger_than_batch_max() -> None:
    async def test() -> list[list[Any]]:
        doubler = Doubler()
        batches = batches_of(doubler, batch_max=8)
        await hold(batches, doubler)
        batches.offer(range(20))
        doubler.go_on.set()
        await batches.close()
        return doubler.batches

    assert run(test()) == [
        ["hold"],
        list(range(8)),
        list(range(8, 16)),
        list(range(16, 20)),
    ]


def test_the_error_of_one_item_is_raised_to_its_caller_alone() -> None:
    async def test() -> list[Any]:
        batches = batches_of(Doubler())
        calls = [batches.submit(item) for item in (1, ValueError("mine"), 3)]
        return await asyncio.gather(*calls, return_exceptions=True)

    first, second, third = run(test())

    assert (first, str(second), third) == (2, "mine", 6)
    assert isinstance(second, ValueError)


def test_the_error_of_a_batch_is_raised_to_all_its_callers() -> None:
    async def fails(items: Sequence[str]) -> list[str]:
        raise OSError("gone")

    async def test() -> list[Any]:
        batches = Batches(fails, name="test", batch_max=100, backlog_max=100)
        return await asyncio.gather(*map(batches.submit, "abc"), return_exceptions=True)

    assert [repr(error) for error in run(test())] == ["OSError('gone')"] * 3


def test_a_batch_that_failed_does_not_stop_the_next() -> None:
    async def fails_on_words(items: Sequence[Any]) -> list[int]:
        return [int(item) for item in items]

    async def test() -> int:
        batches = Batches(fails_on_words, name="test", batch_max=100, backlog_max=100)
        with pytest.raises(ValueError, match="invalid literal"):
            await batches.submit("word")
        return await batches.submit("7")

    assert run(test()) == 7


def test_a_batch_with_too_few_results_fails_and_the_next_one_runs() -> None:
    answers: list[list[int]] = [[], [2]]

    async def answer(items: Sequence[int]) -> list[int]:
        return answers.pop(0)

    async def test() -> int:
        batches = Batches(answer, name="test", batch_max=1, backlog_max=8)
        with pytest.raises(RuntimeError, match="0 results for 1 items"):
            await batches.submit(1)
        return await batches.submit(1)

    assert run(test()) == 2


def test_a_cancelled_caller_does_not_affect_the_others() -> None:
    async def test() -> tuple[bool, int]:
        doubler = Doubler()
        batches = batches_of(doubler)
        await hold(batches, doubler)
        leaves, stays = batches.submit(1), batches.submit(2)
        leaves.cancel()
        doubler.go_on.set()
        result = await stays
        return leaves.cancelled(), result

    assert run(test()) == (True, 4)


def test_a_call_beyond_the_backlog_is_overloaded_and_never_runs() -> None:
    async def test() -> list[list[Any]]:
        doubler = Doubler()
        batches = batches_of(doubler, backlog_max=2)
        await hold(batches, doubler)
        batches.offer([1, 2])
        with pytest.raises(Overloaded, match="2 calls are waiting"):
            batches.submit(3)
        doubler.go_on.set()
        await batches.close()
        return doubler.batches

    assert run(test()) == [["hold"], [1, 2]]


def test_offers_beyond_the_backlog_are_counted_as_refused() -> None:
    async def test() -> int:
        doubler = Doubler()
        batches = batches_of(doubler, backlog_max=2)
        await hold(batches, doubler)
        refused = batches.offer([1, 2, 3])
        doubler.go_on.set()
        await batches.close()
        return refused

    assert run(test()) == 1


def test_offers_are_accepted_again_once_the_backlog_has_run() -> None:
    async def test() -> list[list[Any]]:
        doubler = Doubler()
        batches = batches_of(doubler, backlog_max=1)
        await hold(batches, doubler)
        last = batches.submit(1)
        doubler.go_on.set()
        await last
        assert batches.offer([2]) == 0
        await batches.close()
        return doubler.batches

    assert run(test()) == [["hold"], [1], [2]]


def test_closing_waits_at_most_its_timeout_for_a_batch_that_hangs() -> None:
    async def test() -> bool:
        doubler = Doubler()
        batches = batches_of(doubler)
        await hold(batches, doubler)
        await batches.close(timeout_s=0)
        return doubler.go_on.is_set()

    assert run(test()) is False


def test_nothing_is_accepted_after_close() -> None:
    async def test() -> None:
        batches = batches_of(Doubler())
        await batches.close()

        assert batches.offer([1]) == 1
        with pytest.raises(Overloaded, match="closed"):
            batches.submit(1)

    run(test())


def test_batches_run_on_one_event_loop_after_another() -> None:
    async def test(batches: Batches[int, int]) -> int:
        return await batches.submit(1)

    async def double(items: Sequence[int]) -> list[int]:
        return [item * 2 for item in items]

    shared: Batches[int, int] = Batches(double, name="test", batch_max=8, backlog_max=8)

    assert [run(test(shared)), run(test(shared))] == [2, 2]
