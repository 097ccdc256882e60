"""The rows of one order as a model in memory, and the query that reads the same columns."""

from dataclasses import dataclass, field

from order_engine.execution.domain.order import Transition
from order_engine.execution.domain.status import FINAL, OrderStatus

COUNTING = {"live", "landed"}  # states of an intent that forbid another one

KEPT = """
SELECT o.id, o.status, o.seq, o.lease_epoch AS epoch, o.lease_owner IS NOT NULL AS owned,
       coalesce(o.lease_until > now(), false) AS leased, o.next_run_at <= now() AS due,
       o.attempts, o.claims, o.tx_hash, o.error_code,
       ARRAY(SELECT concat_ws(' ', seq, status, cause) FROM order_events
             WHERE order_id = o.id ORDER BY seq) AS events,
       ARRAY(SELECT state FROM execution_intents WHERE order_id = o.id ORDER BY n) AS intents,
       ARRAY(SELECT n FROM order_attempts WHERE order_id = o.id ORDER BY n) AS failed_attempts
FROM orders o
"""


@dataclass(kw_only=True)
class Kept:
    """One order as PostgreSQL should store it: the columns of KEPT."""

    status: OrderStatus = OrderStatus.PENDING
    seq: int = 1
    epoch: int = 0
    owned: bool = False
    leased: bool = False
    due: bool = True
    attempts: int = 0
    claims: int = 0
    tx_hash: str | None = None
    error_code: str | None = None
    events: list[str] = field(default_factory=lambda: ["1 pending placed"])
    intents: list[str] = field(default_factory=list)
    failed_attempts: list[int] = field(default_factory=list)

    @property
    def claimable(self) -> bool:
        return self.status not in FINAL and self.due and not self.leased

    def claim(self) -> None:
        self.epoch += 1
        self.claims += 1
        self.owned = self.leased = True

    def release(self) -> None:
        self.owned = self.leased = False

    def record(self, target: OrderStatus, cause: str) -> None:
        self.status = target
        self.seq += 1
        self.events.append(f"{self.seq} {target} {cause}")

    def make(self, move: Transition) -> None:
        self.record(move.target, move.cause)
        self.claims = 0
        self.leased = move.target not in FINAL
        self.tx_hash = move.fill.signature if move.fill else None
        self.error_code = move.failure.code if move.failure else None
        if move.intent is not None:
            self.intents.append("live")
        if move.settles is not None:
            self.intents[move.settles - 1] = (
                "landed" if move.target is OrderStatus.CONFIRMED else "dead"
            )

    def seq_of(self, cause: str) -> int:
        return 1 + [event.split()[2] for event in self.events].index(cause)
