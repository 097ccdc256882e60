"""The orders in memory, which the worker's unit tests use, do what the real repository does.

Each scenario makes the same calls on both; every result and every state in between must be equal.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg2.errors
import pytest

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import ClaimedOrder
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.domain.transaction import Intent
from order_engine.execution.orders.moves import FailedAttempt
from support.builders import a_move, a_new_order, a_next_intent, a_transaction, an_intent
from support.order_stages import MemoryStage, PostgresStage, Stage
from support.stores import Databases

PENDING, ROUTING, BUILDING, SUBMITTED, CONFIRMED, FAILED = OrderStatus
HAPPY_PATH = [PENDING, ROUTING, BUILDING, SUBMITTED, CONFIRMED]

Facts = list[Any]


@pytest.fixture
def postgres(databases: Databases) -> Iterator[PostgresStage]:
    stage = PostgresStage(databases)
    with closing(stage.orders):
        yield stage


# What is called


async def a_placed_order(stage: Stage) -> OrderId:
    order = a_new_order(id=OrderId(uuid.uuid4()))
    await stage.place(order)
    return order.id


async def a_claim(stage: Stage, *, at: OrderStatus = PENDING) -> ClaimedOrder:
    claimed = await stage.orders.claim(await a_placed_order(stage))
    assert claimed is not None
    for target in HAPPY_PATH[1 : HAPPY_PATH.index(at) + 1]:
        move = a_move(claimed, target)
        event = await stage.orders.move(move)
        assert event is not None
        claimed = claimed.after(move, event)
    return claimed


def facts_of(claimed: ClaimedOrder | None) -> Facts:
    if claimed is None:
        return [None]
    order = claimed.order
    return [
        claimed.epoch,
        order.status,
        order.claims,
        order.attempts,
        claimed.intents,
        claimed.intent is None,
    ]


def an_attempt(claimed: ClaimedOrder, **named: Any) -> FailedAttempt:
    attempt = FailedAttempt(
        order_id=claimed.order.id,
        epoch=claimed.epoch,
        attempt=claimed.order.attempts + 1,
        step=claimed.order.status,
        venue=None,
        error_code="venue_unavailable",
        delay_s=60,
    )
    return replace(attempt, **named)


async def moves_with_their_repeats(stage: Stage) -> Facts:
    facts: Facts = []
    claimed = await a_claim(stage)
    for target in HAPPY_PATH[1:]:
        move = a_move(claimed, target)
        events = [await stage.orders.move(move), await stage.orders.move(move)]
        facts += [(event and (event.seq, event.status, event.payload.keys())) for event in events]
        facts.append(stage.state(claimed.order.id) | {"tx_hash": None})
        assert events[0] is not None
        claimed = claimed.after(move, events[0])
    return facts


async def failures_at_every_status(stage: Stage) -> Facts:
    facts: Facts = []
    for status in HAPPY_PATH[:-1]:
        claimed = await a_claim(stage, at=status)
        event = await stage.orders.move(a_move(claimed, FAILED))
        facts += [event and event.seq, stage.state(claimed.order.id)]
        facts += facts_of(await stage.orders.claim(claimed.order.id))
    return facts


async def a_claim_while_leased_and_after(stage: Stage) -> Facts:
    facts: Facts = []
    for status in HAPPY_PATH[:-1]:
        claimed = await a_claim(stage, at=status)
        facts += facts_of(await stage.orders.claim(claimed.order.id))
        stage.pass_time()
        facts += facts_of(await stage.orders.claim(claimed.order.id))
        facts.append(stage.state(claimed.order.id))
    return facts


async def every_write_under_an_old_epoch(stage: Stage) -> Facts:
    facts: Facts = []
    for status in HAPPY_PATH[:-1]:
        old = await a_claim(stage, at=status)
        stage.pass_time()
        assert await stage.orders.claim(old.order.id) is not None
        ahead = HAPPY_PATH[HAPPY_PATH.index(status) + 1]
        facts += [
            await stage.orders.move(a_move(old, ahead)),
            await stage.orders.move(a_move(old, FAILED)),
            await stage.orders.record_intent(old, a_next_intent(old)),
            await stage.orders.record_failed_attempt(an_attempt(old)),
            await stage.orders.release(old),
            stage.state(old.order.id),
        ]
    return facts


async def a_cancel_at_every_status(stage: Stage) -> Facts:
    facts: Facts = []
    for status in HAPPY_PATH:
        claimed = await a_claim(stage, at=status)
        facts += [await stage.cancel(claimed.order.id), await stage.cancel(claimed.order.id)]
        facts.append(stage.state(claimed.order.id) | {"tx_hash": None})
        if status is not CONFIRMED:
            ahead = HAPPY_PATH[HAPPY_PATH.index(status) + 1]
            facts.append(await stage.orders.move(a_move(claimed, ahead)) is None)
    return facts


async def a_postponed_order(stage: Stage) -> Facts:
    facts: Facts = []
    for status in HAPPY_PATH[:-1]:
        claimed = await a_claim(stage, at=status)
        attempt = an_attempt(claimed, venue="raydium")
        for _ in range(2):
            facts.append(await stage.orders.record_failed_attempt(attempt))
        facts.append(stage.state(claimed.order.id))
        facts += facts_of(await stage.orders.claim(claimed.order.id))
        facts += [len(await stage.orders.claim_started(most=10))]
        stage.pass_time()
        facts += facts_of(await stage.orders.claim(claimed.order.id))
    return facts


async def a_second_intent(stage: Stage) -> Facts:
    claimed = await a_claim(stage, at=SUBMITTED)
    attempt = an_attempt(claimed, dead_intent=1, delay_s=0)
    facts: Facts = [await stage.orders.record_failed_attempt(attempt)]
    again = await stage.orders.claim(claimed.order.id)
    assert again is not None
    intent = a_next_intent(again)
    for _ in range(2):
        facts += [*facts_of(again), await stage.orders.record_intent(again, intent)]
    facts.append(stage.state(claimed.order.id))
    stage.pass_time()
    adopted = await stage.orders.claim(claimed.order.id)
    assert adopted is not None
    event = await stage.orders.move(a_move(adopted, CONFIRMED))
    facts += [*facts_of(adopted), event and event.seq]
    return [*facts, stage.state(claimed.order.id) | {"tx_hash": None}]


async def a_second_intent_beside_one_that_counts(stage: Stage) -> Facts:
    claimed = await a_claim(stage, at=SUBMITTED)
    with pytest.raises(psycopg2.errors.UniqueViolation):
        await stage.orders.record_intent(claimed, a_next_intent(claimed))
    return [stage.state(claimed.order.id)]


async def a_signature_that_another_order_has(stage: Stage) -> Facts:
    first = await a_claim(stage, at=SUBMITTED)
    second = await a_claim(stage, at=BUILDING)
    assert first.intent is not None
    copied: Intent = an_intent(
        transaction=a_transaction(signature=first.intent.transaction.signature)
    )
    with pytest.raises(psycopg2.errors.UniqueViolation):
        await stage.orders.move(second.submitted(copied))
    return [stage.state(second.order.id)]


async def releases(stage: Stage) -> Facts:
    facts: Facts = []
    for status in HAPPY_PATH[:-1]:
        claimed = await a_claim(stage, at=status)
        facts += [await stage.orders.release(claimed), await stage.orders.release(claimed)]
        facts.append(stage.state(claimed.order.id))
        move = a_move(claimed, HAPPY_PATH[HAPPY_PATH.index(status) + 1])
        facts += [await stage.orders.move(move) is None, await stage.orders.release(claimed)]
        facts += [stage.state(claimed.order.id) | {"tx_hash": None}]
    return facts


async def waiting_orders(stage: Stage) -> Facts:
    ids = [await a_placed_order(stage) for _ in range(4)]
    await stage.cancel(ids[1])
    everything: dict[str, Any] = {"before": None, "lag_s": 0.0}
    too_recent: dict[str, Any] = {"before": None, "lag_s": 600.0}
    long_ago: dict[str, Any] = {"before": datetime(2000, 1, 1, tzinfo=UTC), "lag_s": 0.0}
    facts: Facts = []
    for window in (too_recent, long_ago, everything):
        facts.append(await stage.orders.count_waiting(most=2, **window))
        claimed = await stage.orders.claim_waiting(most=2, **window)
        facts += [sorted(ids.index(each.order.id) for each in claimed)]
        facts += [facts_of(each) for each in claimed]
    return [*facts, len(await stage.orders.claim_started(most=10))]


async def started_orders(stage: Stage) -> Facts:
    claims = [await a_claim(stage, at=status) for status in HAPPY_PATH]
    await a_placed_order(stage)
    facts: Facts = [len(await stage.orders.claim_started(most=10))]
    stage.pass_time()
    facts += [len(await stage.orders.claim_started(most=2))]
    facts += [len(await stage.orders.claim_started(most=10))]
    return [*facts, *(stage.state(each.order.id) | {"tx_hash": None} for each in claims)]


async def an_unknown_order(stage: Stage) -> Facts:
    return facts_of(await stage.orders.claim(OrderId(uuid.uuid4())))


SCENARIOS: Sequence[Callable[[Stage], Awaitable[Facts]]] = [
    moves_with_their_repeats,
    failures_at_every_status,
    a_claim_while_leased_and_after,
    every_write_under_an_old_epoch,
    a_cancel_at_every_status,
    a_postponed_order,
    a_second_intent,
    a_second_intent_beside_one_that_counts,
    a_signature_that_another_order_has,
    releases,
    waiting_orders,
    started_orders,
    an_unknown_order,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_orders_in_memory_do_what_postgresql_does(
    postgres: PostgresStage, scenario: Callable[[Stage], Awaitable[Facts]]
) -> None:
    async def facts(stage: Stage) -> Facts:
        return await scenario(stage)

    assert asyncio.run(facts(MemoryStage())) == asyncio.run(facts(postgres))
