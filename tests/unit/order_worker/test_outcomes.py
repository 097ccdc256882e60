"""Orders that wait for outcomes share the questions to their venue."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from order_engine.execution.domain.errors import VenueUnavailable
from order_engine.execution.domain.transaction import Fill, Outcome, Signature, Transaction
from order_engine.order_worker.outcomes import FAILED_POLLS_MAX, Outcomes
from support.builders import NOON, a_fill, a_transaction
from support.scripted_venue import DOWN, ScriptedVenue, a_venue

TRANSACTIONS = [
    a_transaction(signature=Signature(f"signature-{n}"), content=b"a swap") for n in range(20)
]


class Chain(ScriptedVenue):
    """Transactions have no outcome until the test adds one to `landed`."""

    landed: dict[Signature, Outcome]
    questions: list[Sequence[Signature]]
    error: Exception | None = None
    unreadable: Signature | None = None

    async def outcomes(self, transactions: Sequence[Transaction]) -> Mapping[Signature, Outcome]:
        asked = [transaction.signature for transaction in transactions]
        self.questions.append(asked)
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        if self.unreadable in asked:
            raise RuntimeError("an answer that nobody understands")
        return {
            each.signature: self.landed[each.signature]
            for each in transactions
            if each.signature in self.landed
        }


def a_chain() -> Chain:
    chain = Chain(a_venue().name, quotes=[])
    chain.landed, chain.questions = {}, []
    return chain


def a_landing(transaction: Transaction) -> Fill:
    return replace(a_fill(), signature=transaction.signature)


async def questions(chain: Chain, count: int) -> None:
    """Returns when `count` further questions have been asked."""
    wanted = len(chain.questions) + count
    async with asyncio.timeout(5):
        while len(chain.questions) < wanted:
            await asyncio.sleep(0)


async def waiting_for(chain: Chain) -> list[asyncio.Task[Outcome]]:
    """Tasks that have asked alone, and now wait together."""
    outcomes = Outcomes(chain, poll_s=0, now=lambda: NOON)
    tasks = [asyncio.create_task(outcomes.of(each)) for each in TRANSACTIONS]
    await questions(chain, len(TRANSACTIONS) + 2)
    return tasks


def test_each_asks_alone_at_once_and_then_all_together() -> None:
    async def work() -> None:
        chain = a_chain()
        tasks = await waiting_for(chain)
        del chain.questions[:]
        await questions(chain, 3)

        assert [sorted(question) for question in chain.questions] == [
            sorted(each.signature for each in TRANSACTIONS)
        ] * 3

        chain.landed = {each.signature: a_landing(each) for each in TRANSACTIONS}

        assert await asyncio.gather(*tasks) == [a_landing(each) for each in TRANSACTIONS]

    asyncio.run(work())


def test_a_transaction_with_an_outcome_is_not_asked_about_again() -> None:
    async def work() -> None:
        chain = a_chain()
        tasks = await waiting_for(chain)
        first = TRANSACTIONS[0]
        chain.landed = {first.signature: a_landing(first)}

        assert await tasks[0] == a_landing(first)

        del chain.questions[:]
        await questions(chain, 2)

        assert {len(question) for question in chain.questions} == {len(TRANSACTIONS) - 1}

    asyncio.run(work())


def test_nothing_is_asked_when_no_order_waits() -> None:
    async def work() -> None:
        chain = a_chain()
        tasks = await waiting_for(chain)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await questions_end(chain)

    async def questions_end(chain: Chain) -> None:
        async with asyncio.timeout(5):
            before = -1
            while before != len(chain.questions):
                before = len(chain.questions)
                for _ in range(20):
                    await asyncio.sleep(0)

    asyncio.run(work())


def test_a_venue_that_is_down_gives_up_each_order_after_its_own_questions() -> None:
    async def work() -> None:
        chain = a_chain()
        tasks = await waiting_for(chain)
        chain.error = DOWN
        await questions(chain, FAILED_POLLS_MAX - 2)

        assert not any(task.done() for task in tasks)

        for task in tasks:
            with pytest.raises(VenueUnavailable):
                await task

    asyncio.run(work())


def test_an_unexpected_error_reaches_every_order_that_waits() -> None:
    async def work() -> None:
        chain = a_chain()
        tasks = await waiting_for(chain)
        chain.error = RuntimeError("an answer that nobody understands")
        for task in tasks:
            with pytest.raises(RuntimeError, match="nobody understands"):
                await task

        chain.error, chain.landed = None, {each.signature: a_landing(each) for each in TRANSACTIONS}
        outcomes = Outcomes(chain, poll_s=0, now=lambda: NOON)

        assert await outcomes.of(TRANSACTIONS[0]) == a_landing(TRANSACTIONS[0])

    asyncio.run(work())


def test_an_answer_that_cannot_be_read_ends_only_its_order() -> None:
    async def work() -> None:
        chain = a_chain()
        first, *others = await waiting_for(chain)
        chain.unreadable = TRANSACTIONS[0].signature

        with pytest.raises(RuntimeError, match="nobody understands"):
            await first

        chain.landed = {each.signature: a_landing(each) for each in TRANSACTIONS}

        assert await asyncio.gather(*others) == [a_landing(each) for each in TRANSACTIONS[1:]]

    asyncio.run(work())
