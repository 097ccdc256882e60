"""The repository of orders against a model in memory, over random sequences of calls.

Two claimers and a gateway place, claim, move, postpone, release and cancel a few orders, while
leases expire and replies are lost. A `Hand` is what a claimer knows of one claim. While its epoch is
that of the order, a write has the effect that the model has; afterwards it has none. After every
step the tables must equal the model.
"""

import asyncio
import uuid
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg2
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg2.extras import RealDictCursor, register_uuid

from order_engine.execution.domain.errors import IllegalTransition
from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import LOCAL_ACCOUNT, ClaimedOrder, NewOrder, Transition
from order_engine.execution.domain.status import FINAL, TRANSITIONS, OrderStatus
from order_engine.execution.orders.audit import AuditedOrder, Change
from order_engine.execution.orders.cancellation import CANCELLED
from order_engine.execution.orders.claims import CLAIM, Claim, Claimer
from order_engine.execution.orders.moves import FailedAttempt
from order_engine.execution.orders.repository import Orders
from order_engine.execution.stores.connections import Connection, connect
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from support.builders import a_move, a_new_order, a_next_intent
from support.driven_orders import events_of
from support.order_model import COUNTING, KEPT, Kept
from support.stores import Databases

PENDING, ROUTING, BUILDING, SUBMITTED, CONFIRMED, FAILED = OrderStatus

OPEN_MAX = 3  # orders that are not final; few, so that each sees many calls
PATH = [ROUTING, BUILDING, SUBMITTED]  # from `pending` to the point where the venue decides
LONG_AGO = Change(changed_at=datetime(2000, 1, 1, tzinfo=UTC))

Result = TypeVar("Result")
Draw = st.DataObject

twice_or_once = st.sampled_from([1, 2])  # a statement runs again after a lost reply


CREATED = "SELECT created_at FROM orders WHERE id = %s"

EXPIRE_LEASE = """
UPDATE orders SET next_run_at = now(),
       lease_until = CASE WHEN lease_until IS NOT NULL THEN now() - interval '1 s' END
WHERE id = %s
"""

COUNTS = """
SELECT o.id, o.seq,
       (SELECT count(*) FROM order_events WHERE order_id = o.id) AS events,
       (SELECT count(*) FROM execution_intents WHERE order_id = o.id AND state <> 'dead') AS counting
FROM orders o
"""


@dataclass
class Hand:
    """A claim as its claimer knows it. `unanswered` is a move with a lost reply."""

    claimed: ClaimedOrder
    unanswered: Transition | None = None

    @property
    def order_id(self) -> OrderId:
        return self.claimed.order.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The repositories under test and a connection that reads the tables."""

    commits: GroupCommit
    gateway: Orders
    workers: Sequence[Orders]
    connection: Connection

    def sql(self, statement: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        with self.connection.cursor(cursor_factory=RealDictCursor) as cursor:
            cursor.execute(statement, parameters)
            return [dict(row) for row in cursor] if cursor.description else []


class OrdersMachine(RuleBasedStateMachine):
    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.loop = asyncio.Runner()
        self.forms: list[NewOrder] = []
        self.keys: dict[str, NewOrder] = {}
        self.kept: dict[OrderId, Kept] = {}  # in the order of placement
        self.hands: list[Hand] = []
        engine.sql("TRUNCATE orders, order_events, order_attempts, execution_intents")

    def teardown(self) -> None:
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run(work)

    def open(self) -> list[OrderId]:
        return [order_id for order_id, kept in self.kept.items() if kept.status not in FINAL]

    def draw_order(self, data: Draw) -> OrderId:
        """An order, usually one that is not final."""
        ended = [order_id for order_id in self.kept if order_id not in self.open()][-1:]
        order_id: OrderId = data.draw(st.sampled_from(self.open() + ended), label="order")
        return order_id

    def in_force(self) -> list[Hand]:
        """Claims with the current epoch that may write."""
        return [
            hand
            for hand in self.hands
            if hand.claimed.epoch == self.kept[hand.order_id].epoch and hand.unanswered is None
        ]

    def fenced(self) -> list[Hand]:
        return [h for h in self.hands if h.claimed.epoch != self.kept[h.order_id].epoch]

    def unanswered(self) -> list[Hand]:
        return [hand for hand in self.hands if hand.unanswered is not None]

    # Placement

    @initialize(progress=st.lists(st.integers(0, len(PATH)), min_size=1, max_size=OPEN_MAX))
    def begin(self, progress: list[int]) -> None:
        """Places and claims orders, each with a number of moves along the path."""
        for steps in progress:
            form = self.a_form(key=None, request_hash=None)
            self.expect_placed(form)
            self.claim_by_hint(self.engine.workers[0], form.id)
            self.move_on(self.hands[-1], steps=steps, reply_lost=False)

    @precondition(lambda self: len(self.open()) < OPEN_MAX)
    @rule(data=st.data(), key=st.sampled_from([None, "k1", "k2"]), body=st.sampled_from("ab"))
    def place(self, data: Draw, key: str | None, body: str) -> None:
        """Places a new form, and then one that was placed before."""
        self.expect_placed(self.a_form(key=key, request_hash=None if key is None else body * 2))
        self.expect_placed(data.draw(st.sampled_from(self.forms), label="again"))

    def a_form(self, *, key: str | None, request_hash: str | None) -> NewOrder:
        form = a_new_order(
            id=OrderId(uuid.uuid5(uuid.NAMESPACE_OID, str(len(self.forms)))),  # not ordered
            idempotency_key=key,
            request_hash=request_hash,
        )
        self.forms.append(form)
        return form

    def expect_placed(self, form: NewOrder) -> None:
        key = form.idempotency_key
        first = form if key is None else self.keys.setdefault(key, form)
        kept = self.kept.setdefault(first.id, Kept())
        placed = self.run(self.engine.gateway.place(form))

        assert placed.order_id == first.id
        assert placed.created == (first is form)
        assert placed.same_request == (first.request_hash == form.request_hash)
        assert placed.status == kept.status

    # Claims

    @precondition(lambda self: self.open())
    @rule(data=st.data(), worker=st.integers(0, 1), most=st.integers(1, OPEN_MAX))
    def claim(self, data: Draw, worker: int, most: int) -> None:
        """Claims in any way; often after a lease has expired, always when no order is free."""
        none_free = not any(kept.claimable for kept in self.kept.values())
        if none_free or data.draw(st.booleans(), label="time passes"):
            self.expire_lease(data.draw(st.sampled_from(self.open()), label="order"))
        orders = self.engine.workers[worker]
        way = data.draw(st.sampled_from(["hint", "started", "waiting", "reply lost"]), label="way")
        match way:
            case "hint":
                self.claim_by_hint(orders, self.draw_order(data))
            case "started":
                self.claim_started(orders, most=most)
            case "waiting":
                head = data.draw(st.sampled_from([None, *self.kept]), label="head")
                self.claim_waiting(orders, most=most, head=head)
            case _:
                self.claim_again_after_a_lost_reply(self.draw_order(data))

    def expire_lease(self, order_id: OrderId) -> None:
        kept = self.kept[order_id]
        kept.leased, kept.due = False, True
        self.engine.sql(EXPIRE_LEASE, (order_id,))

    def claim_by_hint(self, orders: Orders, order_id: OrderId) -> None:
        expected = [order_id] if self.kept[order_id].claimable else []
        claimed = self.run(orders.claim(order_id))

        self.expect_claimed([] if claimed is None else [claimed], expected)

    def claim_started(self, orders: Orders, *, most: int) -> None:
        started = sorted(id_ for id_, kept in self.kept.items() if kept.epoch and kept.claimable)

        self.expect_claimed(self.run(orders.claim_started(most=most)), started[:most])

    def claim_waiting(self, orders: Orders, *, most: int, head: OrderId | None) -> None:
        """Claims all that wait, or those placed before the order at the head of the queue."""
        older, before = list(self.kept), None
        if head is not None:
            older = older[: older.index(head)]
            [before] = [row["created_at"] for row in self.engine.sql(CREATED, (head,))]
        waiting = [order_id for order_id in older if self.kept[order_id].epoch == 0][:most]
        counted = self.run(orders.count_waiting(before=before, lag_s=0, most=most))

        assert counted == len(waiting)
        claimed = self.run(orders.claim_waiting(before=before, lag_s=0, most=most))
        self.expect_claimed(claimed, waiting)

    def claim_again_after_a_lost_reply(self, order_id: OrderId) -> None:
        """Repeats a claim with the same owner, which fences the first try."""
        kept = self.kept[order_id]
        claim = Claim(owner=str(uuid.uuid4()), lease_s=10, order_id=order_id)
        claimable = kept.claimable
        for _ in range(2):
            claimed = self.run(self.engine.commits.run(CLAIM, claim))

            assert bool(claimed) == claimable
            if claimable:
                kept.claim()
                assert claimed[0].epoch == kept.epoch
        if claimable and kept.status is not SUBMITTED:  # else it would have to read the intents
            self.hands.append(Hand(claimed[0]))

    def expect_claimed(self, claimed: list[ClaimedOrder], expected: list[OrderId]) -> None:
        assert sorted(each.order.id for each in claimed) == sorted(expected)
        for each in sorted(claimed, key=lambda each: each.order.id):
            order, kept = each.order, self.kept[each.order.id]
            kept.claim()
            counting = [n for n, state in enumerate(kept.intents, 1) if state in COUNTING]
            self.hands.append(Hand(each))

            assert (each.epoch, order.status, order.seq) == (kept.epoch, kept.status, kept.seq)
            assert (order.attempts, order.claims) == (kept.attempts, kept.claims)
            assert ([each.intent.n] if each.intent else []) == counting
            assert each.intents == len(kept.intents)

    # Writes of a claimer

    @precondition(lambda self: self.in_force())
    @rule(data=st.data(), times=twice_or_once)
    def write(self, data: Draw, times: int) -> None:
        hand = data.draw(st.sampled_from(self.in_force()), label="hand")
        submitted = hand.claimed.order.status is SUBMITTED
        writes = ["on", *["die", "die", "second"] * submitted, "postpone", "release", "fail"]
        match data.draw(st.sampled_from(writes), label="write"):
            case "on" if not submitted:
                self.move_on(hand, steps=data.draw(st.integers(1, 3)), reply_lost=times > 1)
            case "on" if hand.claimed.intent is not None:
                self.move(hand, CONFIRMED, reply_lost=times > 1)
            case "on" | "second":
                self.record_intent(hand, times=times)
            case "fail":
                self.move(hand, FAILED, reply_lost=times > 1)
            case "release":
                self.release(hand, times=times)
            case write:
                delay_s = data.draw(st.sampled_from([0, 60]), label="delay_s")
                self.postpone(hand, dies=write == "die", delay_s=delay_s, times=times)

    def move_on(self, hand: Hand, *, steps: int, reply_lost: bool) -> None:
        """Moves towards `submitted`; the reply to the last move may be lost."""
        ahead = PATH[hand.claimed.order.seq - 1 :][:steps]
        for target in ahead:
            self.move(hand, target, reply_lost=reply_lost and target is ahead[-1])

    def move(self, hand: Hand, target: OrderStatus, *, reply_lost: bool) -> None:
        kept = self.kept[hand.order_id]
        for illegal in set(OrderStatus) - TRANSITIONS[kept.status] - {PENDING}:
            with pytest.raises(IllegalTransition):
                a_move(hand.claimed, illegal)
        move = a_move(hand.claimed, target)
        kept.make(move)
        event = self.run(self.engine.workers[0].move(move))

        assert event is not None
        assert (event.seq, event.status) == (kept.seq, target)
        hand.unanswered = move
        if not reply_lost:
            self.learn(hand, event)

    @precondition(lambda self: self.unanswered())
    @rule(data=st.data())
    def repeat_a_move(self, data: Draw) -> None:
        """A repeated move returns its own event, even when another claim holds the order."""
        hand = data.draw(st.sampled_from(self.unanswered()), label="hand")
        kept = self.kept[hand.order_id]
        assert hand.unanswered is not None
        event = self.run(self.engine.workers[0].move(hand.unanswered))

        assert event is not None
        assert event.seq == kept.seq_of(hand.unanswered.cause)
        assert event.status is hand.unanswered.target
        self.learn(hand, event)

    def learn(self, hand: Hand, event: OrderEvent) -> None:
        assert hand.unanswered is not None
        hand.claimed = hand.claimed.after(hand.unanswered, event)
        hand.unanswered = None
        if event.status in FINAL:
            self.hands.remove(hand)

    def record_intent(self, hand: Hand, *, times: int) -> None:
        kept = self.kept[hand.order_id]
        intent = a_next_intent(hand.claimed)
        if COUNTING & set(kept.intents):
            with pytest.raises(psycopg2.errors.UniqueViolation):
                self.run(self.engine.workers[0].record_intent(hand.claimed, intent))
            return
        kept.intents.append("live")
        kept.leased = True
        for _ in range(times):
            assert self.run(self.engine.workers[0].record_intent(hand.claimed, intent))
        hand.claimed = hand.claimed.holding(intent)

    def postpone(self, hand: Hand, *, dies: bool, delay_s: int, times: int) -> None:
        kept = self.kept[hand.order_id]
        attempt = attempt_of(hand.claimed, dies=dies, delay_s=delay_s)
        kept.attempts += 1
        kept.failed_attempts.append(kept.attempts)
        kept.due = delay_s == 0
        kept.release()
        if attempt.dead_intent is not None:
            kept.intents[attempt.dead_intent - 1] = "dead"
        for _ in range(times):
            assert self.run(self.engine.workers[0].record_failed_attempt(attempt))
        self.hands.remove(hand)

    def release(self, hand: Hand, *, times: int) -> None:
        kept = self.kept[hand.order_id]
        kept.claims = max(kept.claims - 1, 0)
        kept.release()
        released = [self.run(self.engine.workers[0].release(hand.claimed)) for _ in range(times)]

        assert released == [True, False][:times]
        self.hands.remove(hand)

    @precondition(lambda self: self.fenced())
    @rule(data=st.data())
    def write_nothing_when_fenced(self, data: Draw) -> None:
        hand = data.draw(st.sampled_from(self.fenced()), label="hand")
        worker, claimed = self.engine.workers[1], hand.claimed

        for target in TRANSITIONS[claimed.order.status] if hand.unanswered is None else ():
            if target is not CONFIRMED or claimed.intent is not None:
                assert self.run(worker.move(a_move(claimed, target))) is None
        assert not self.run(worker.record_intent(claimed, a_next_intent(claimed)))
        assert not self.run(worker.record_failed_attempt(attempt_of(claimed, dies=True, delay_s=0)))
        assert not self.run(worker.release(claimed))
        if hand.unanswered is None:
            self.hands.remove(hand)

    # The gateway

    @precondition(lambda self: any(h.claimed.order.status is BUILDING for h in self.in_force()))
    @rule(data=st.data(), times=twice_or_once)
    def cancel(self, data: Draw, times: int) -> None:
        order_id = self.draw_order(data)
        kept = self.kept[order_id]
        for _ in range(times):
            cancels = kept.status in {PENDING, ROUTING, BUILDING}
            if cancels:
                kept.record(FAILED, "cancel")
                kept.epoch += 1
                kept.error_code = CANCELLED
                kept.release()
            answer = self.run(self.engine.gateway.cancel(order_id, account_id=LOCAL_ACCOUNT))

            assert answer is not None
            assert answer.status == kept.status
            assert answer.cancelled == (kept.error_code == CANCELLED)
            assert (answer.event is not None) == cancels
            assert answer.event is None or answer.event.seq == kept.seq

    # Invariants

    @invariant()
    def the_tables_equal_the_model(self) -> None:
        stored = {row.pop("id"): row for row in self.engine.sql(KEPT)}

        assert stored == {order_id: asdict(kept) for order_id, kept in self.kept.items()}

    @invariant()
    def seq_counts_the_events_and_at_most_one_intent_counts(self) -> None:
        for row in self.engine.sql(COUNTS):
            assert row["seq"] == row["events"]
            assert row["counting"] <= 1

    @invariant()
    def reads_and_the_audit_find_no_fault(self) -> None:
        async def seen() -> tuple[list[AuditedOrder], dict[OrderId, int], list[list[OrderEvent]]]:
            return await asyncio.gather(
                gateway.audit(beyond=LONG_AGO, lag_s=0, most=len(seqs) + 1),
                gateway.positions(list(seqs)),
                asyncio.gather(*(events_of(gateway, id_, after=seqs[id_] // 2) for id_ in seqs)),
            )

        gateway, seqs = self.engine.gateway, {id_: kept.seq for id_, kept in self.kept.items()}
        audited, positions, histories = self.run(seen())

        assert [order.broken for order in audited] == [()] * len(seqs)
        assert positions == seqs
        for seq, history in zip(seqs.values(), histories, strict=True):
            assert [event.seq for event in history] == list(range(seq // 2 + 1, seq + 1))


def attempt_of(claimed: ClaimedOrder, *, dies: bool, delay_s: float) -> FailedAttempt:
    return FailedAttempt(
        order_id=claimed.order.id,
        epoch=claimed.epoch,
        attempt=claimed.order.attempts + 1,
        step=claimed.order.status,
        venue=None,
        error_code="venue_unavailable",
        delay_s=delay_s,
        dead_intent=claimed.intent.n if claimed.intent and dies else None,
    )


@pytest.fixture
def engine(databases: Databases) -> Iterator[Engine]:
    url = databases.orders_url
    with ExitStack() as stack:

        def an_orders(commits: GroupCommit, claimer: str) -> Orders:
            reader = Reader(url, application_name=claimer, connections_max=1)
            orders = Orders(commits, reader, claimer=Claimer(name=claimer, lease_s=10))
            stack.callback(orders.close)
            return orders

        commits = [GroupCommit(url, application_name="machine") for _ in range(3)]
        connection = stack.enter_context(closing(connect(url, application_name="machine")))
        register_uuid(conn_or_curs=connection)  # type: ignore[no-untyped-call]  # no stub
        yield Engine(
            commits=commits[0],
            gateway=an_orders(commits[0], "gateway"),
            workers=[an_orders(commits[1], "worker-a"), an_orders(commits[2], "worker-b")],
            connection=connection,
        )


def test_every_sequence_of_calls_leaves_the_tables_equal_to_the_model(engine: Engine) -> None:
    class Machine(OrdersMachine):
        def __init__(self) -> None:
            super().__init__(engine)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
