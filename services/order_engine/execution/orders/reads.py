"""Reads of orders, always by account."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from order_engine.execution.domain.event import OrderEvent
from order_engine.execution.domain.ids import AccountId, OrderId
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.rows import event_from
from order_engine.execution.stores.rows import Row
from order_engine.execution.stores.statements import Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which orders to list: newest first, after `beyond`, the last order of the previous page.

    Empty `statuses` select every status. `since` and `until` bound, exclusively, the creation time
    as clients see it, in whole milliseconds.
    """

    account_id: AccountId
    most: int
    statuses: Collection[OrderStatus] = ()
    token_in: str | None = None
    token_out: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    beyond: tuple[datetime, OrderId] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Events of one order by ascending seq, and the account that owns the order."""

    account_id: AccountId
    events: Sequence[OrderEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A request for the events of an order after seq `after`; `n` is unique in the process."""

    n: int
    order_id: OrderId
    after: int


GET = "SELECT * FROM orders WHERE id = %(order_id)s AND account_id = %(account_id)s"

PAGE = """
SELECT *
FROM orders
WHERE account_id = %(account_id)s
  AND (%(statuses)s::text[] IS NULL OR status = ANY(%(statuses)s::text[]))
  AND (%(token_in)s::text IS NULL OR token_in = %(token_in)s)
  AND (%(token_out)s::text IS NULL OR token_out = %(token_out)s)
  AND (%(since)s::timestamptz IS NULL OR created_at >=
       date_trunc('milliseconds', %(since)s::timestamptz) + interval '1 millisecond')
  AND (%(until)s::timestamptz IS NULL OR created_at <
       date_trunc('milliseconds', %(until)s::timestamptz + interval '999 microseconds'))
  AND (%(beyond_at)s::timestamptz IS NULL
       OR (created_at, id) < (%(beyond_at)s::timestamptz, %(beyond_id)s::uuid))
ORDER BY created_at DESC, id DESC
LIMIT %(most)s
"""


def page_parameters(page: Page) -> Row:
    beyond_at, beyond_id = page.beyond or (None, None)
    return {
        "account_id": page.account_id,
        "statuses": [str(status) for status in page.statuses] or None,
        "token_in": page.token_in,
        "token_out": page.token_out,
        "since": page.since,
        "until": page.until,
        "beyond_at": beyond_at,
        "beyond_id": None if beyond_id is None else str(beyond_id),
        "most": page.most,
    }


HISTORY_SQL = """
SELECT v.n, o.account_id, e.order_id, e.seq, e.status, e.payload, e.occurred_at
FROM json_to_recordset(%(rows)s::json) AS v(n bigint, order_id uuid, after integer)
JOIN orders o ON o.id = v.order_id
LEFT JOIN order_events e ON e.order_id = v.order_id AND e.seq > v.after
ORDER BY v.n, e.seq
"""


def _history(_: Position, rows: Sequence[Row]) -> History | None:
    if not rows:
        return None
    events = [event_from(row) for row in rows if row["seq"] is not None]
    return History(account_id=AccountId(rows[0]["account_id"]), events=events)


HISTORY: Statement[Position, History | None] = Statement(
    name="history",
    sql=HISTORY_SQL,
    key=lambda position: position.n,
    answer_key=lambda row: row["n"],
    result=_history,
)

POSITIONS = "SELECT id, seq FROM orders WHERE id = ANY(%(orders)s::uuid[])"


RECENT_STARTS = """
SELECT id, extract(epoch FROM now() - started_at)::double precision AS age_s
FROM orders
WHERE started_at BETWEEN now() - make_interval(secs => %(within_s)s) AND now()
"""

CLOCK = "SELECT now() AS now"

ANSWERS = "SELECT count(*) FROM (SELECT FROM orders LIMIT 1) AS any_order"
