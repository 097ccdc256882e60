import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import pytest

from order_engine.execution.domain.errors import Overloaded
from order_engine.execution.stores.batches import Batches
from support.waiting import wait_until

Got = TypeVar("Got")
DEADLINE_S = 10


def run(test: Coroutine[Any, Any, Got]) -> Got:
    async def within_bounds() -> Got:
        async with asyncio.timeout(DEADLINE_S):
            return await test

    return asyncio.run(within_bounds())


class Doubler:
    """Doubles its items and records its batches; the item `hold` blocks it until `go_on`."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.held = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        self.batches.append(list(items))
        if "hold" in items:
            self.held.set()
            if not self.go_on.wait(DEADLINE_S):
                raise AssertionError("the batch was never released")
        return [item if isinstance(item, Exception) else item * 2 for item in items]


@contextmanager
def batches_of(
    doubler: Doubler, *, batch_max: int = 100, backlog_max: int = 100
) -> Iterator[Batches[Any, Any]]:
    batches: Batches[Any, Any] = Batches(
        doubler, name="test", batch_max=batch_max, backlog_max=backlog_max
    )
    with closing(batches):
        try:
            yield batches
        finally:
            doubler.go_on.set()


def hold(batches: Batches[Any, Any], doubler: Doubler) -> None:
    """Starts a batch that runs until `go_on`."""
    assert batches.offer("hold")
    assert doubler.held.wait(DEADLINE_S)


def test_a_single_call_runs_alone() -> None:
    doubler = Doubler()
    with batches_of(doubler) as batches:
        results = [run(batches.call(item)) for item in (1, 2, 3)]

    assert (results, doubler.batches) == ([2, 4, 6], [[1], [2], [3]])


def test_calls_that_arrive_while_a_batch_runs_form_the_next_batch() -> None:
    doubler = Doubler()

    async def test() -> list[int]:
        with batches_of(doubler) as batches:
            hold(batches, doubler)
            calls = [asyncio.ensure_future(batches.call(item)) for item in range(20)]
            asyncio.get_running_loop().call_soon(doubler.go_on.set)
            return list(await asyncio.gather(*calls))

    results = run(test())

    assert results == [item * 2 for item in range(20)]
    assert doubler.batches == [["hold"], list(range(20))]


def test_no_batch_is_larger_than_batch_max() -> None:
    doubler = Doubler()
    with batches_of(doubler, batch_max=8) as batches:
        hold(batches, doubler)
        for item in range(20):
            batches.offer(item)

    assert doubler.batches == [
        ["hold"],
        list(range(8)),
        list(range(8, 16)),
        list(range(16, 20)),
    ]


def test_the_error_of_one_item_is_raised_to_its_caller_alone() -> None:
    doubler = Doubler()

    async def test() -> list[Any]:
        with batches_of(doubler) as batches:
            hold(batches, doubler)
            calls = [batches.call(item) for item in (1, ValueError("mine"), 3)]
            gathered = asyncio.gather(*calls, return_exceptions=True)
            asyncio.get_running_loop().call_soon(doubler.go_on.set)
            return await gathered

    first, second, third = run(test())

    assert (first, str(second), third) == (2, "mine", 6)
    assert isinstance(second, ValueError)


def test_the_error_of_a_batch_is_raised_to_all_its_callers() -> None:
    held, go_on = threading.Event(), threading.Event()

    def fails(items: Sequence[str]) -> list[str]:
        held.set()
        go_on.wait(DEADLINE_S)
        raise OSError("gone")

    async def test() -> list[Any]:
        batches = Batches(fails, name="test", batch_max=100, backlog_max=100)
        with closing(batches):
            batches.offer("first")
            assert held.wait(DEADLINE_S)
            gathered = asyncio.gather(
                *(batches.call(item) for item in "abc"), return_exceptions=True
            )
            asyncio.get_running_loop().call_soon(go_on.set)
            return await gathered

    errors = run(test())

    assert [repr(error) for error in errors] == ["OSError('gone')"] * 3


def test_a_batch_that_failed_does_not_stop_the_next() -> None:
    def fails_on_words(items: Sequence[Any]) -> list[int]:
        return [int(item) for item in items]

    async def test() -> int:
        batches = Batches(fails_on_words, name="test", batch_max=100, backlog_max=100)
        with closing(batches):
            with pytest.raises(ValueError, match="invalid literal"):
                await batches.call("word")
            return await batches.call("7")

    assert run(test()) == 7


def test_a_cancelled_caller_does_not_affect_the_others() -> None:
    doubler = Doubler()

    async def test() -> tuple[bool, int]:
        with batches_of(doubler) as batches:
            hold(batches, doubler)
            leaves = asyncio.ensure_future(batches.call(1))
            stays = asyncio.ensure_future(batches.call(2))
            asyncio.get_running_loop().call_soon(leaves.cancel)
            asyncio.get_running_loop().call_soon(doubler.go_on.set)
            result = await stays
            return leaves.cancelled(), result

    assert run(test()) == (True, 4)


def test_a_call_beyond_the_backlog_is_overloaded() -> None:
    doubler = Doubler()
    with batches_of(doubler, backlog_max=2) as batches:
        hold(batches, doubler)
        batches.offer(1)
        batches.offer(2)

        with pytest.raises(Overloaded, match="2 calls are waiting"):
            run(batches.call(3))


def test_a_call_that_was_overloaded_never_runs() -> None:
    doubler = Doubler()
    with batches_of(doubler, backlog_max=1) as batches:
        hold(batches, doubler)
        batches.offer(1)
        with pytest.raises(Overloaded):
            run(batches.call(2))

    assert doubler.batches == [["hold"], [1]]


def test_an_offer_beyond_the_backlog_is_refused() -> None:
    doubler = Doubler()
    with batches_of(doubler, backlog_max=2) as batches:
        hold(batches, doubler)
        taken = [batches.offer(item) for item in (1, 2, 3)]

    assert taken == [True, True, False]


def test_offers_are_accepted_again_once_the_backlog_has_run() -> None:
    doubler = Doubler()
    with batches_of(doubler, backlog_max=1) as batches:
        hold(batches, doubler)
        batches.offer(1)
        doubler.go_on.set()
        wait_until(lambda: batches.offer(2), timeout_s=DEADLINE_S)

    assert [item for batch in doubler.batches for item in batch] == ["hold", 1, 2]


def test_closing_runs_the_items_that_wait() -> None:
    doubler = Doubler()
    with batches_of(doubler) as batches:
        hold(batches, doubler)
        for item in range(5):
            batches.offer(item)

    assert doubler.batches == [["hold"], [0, 1, 2, 3, 4]]


def test_closing_ends_the_thread_after_the_waiting_batch() -> None:
    doubler = Doubler()
    with batches_of(doubler) as batches:
        hold(batches, doubler)
        batches.offer(1)
        batches.close(timeout_s=0)
        doubler.go_on.set()

        wait_until(
            lambda: "test" not in {thread.name for thread in threading.enumerate()},
            timeout_s=DEADLINE_S,
            what="the end of the thread",
        )


def test_closing_waits_at_most_its_timeout_for_a_batch_that_hangs() -> None:
    doubler = Doubler()
    with batches_of(doubler) as batches:
        hold(batches, doubler)
        batches.close(timeout_s=0)

        assert not doubler.go_on.is_set()


def test_callers_on_two_event_loops_each_get_their_own_answer() -> None:
    doubler = Doubler()
    answers: dict[int, int] = {}
    with batches_of(doubler) as batches:
        hold(batches, doubler)

        def call_from_a_loop_of_its_own(item: int) -> None:
            answers[item] = run(batches.call(item))

        callers = [
            threading.Thread(target=call_from_a_loop_of_its_own, args=(item,)) for item in (1, 2)
        ]
        for caller in callers:
            caller.start()
        doubler.go_on.set()
        for caller in callers:
            caller.join(DEADLINE_S)

    assert answers == {1: 2, 2: 4}


def test_nothing_is_accepted_after_close() -> None:
    batches: Batches[int, int] = Batches(list, name="test", batch_max=8, backlog_max=8)
    batches.close()

    assert not batches.offer(1)
    with pytest.raises(Overloaded, match="closed"):
        run(batches.call(1))


def test_a_batch_with_too_few_results_fails_and_the_next_one_runs() -> None:
    answers = iter([[], [2]])
    batches: Batches[int, int] = Batches(
        lambda items: next(answers), name="test", batch_max=1, backlog_max=8
    )

    with pytest.raises(RuntimeError, match="0 results for 1 items"):
        run(batches.call(1))
    assert run(batches.call(1)) == 2
    batches.close()
