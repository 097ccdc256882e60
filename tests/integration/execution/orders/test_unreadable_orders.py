"""An order that cannot be read is set aside; the others go on."""

import asyncio
import uuid
from contextlib import closing

import pytest

from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import LOCAL_ACCOUNT
from order_engine.execution.domain.status import OrderStatus
from order_engine.execution.orders.claims import Claimer
from order_engine.execution.orders.reads import Page
from order_engine.execution.orders.repository import Orders
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from support.builders import a_new_order
from support.damaged_rows import TEXT_THAT_IS_NOT_UTF8, damage
from support.driven_orders import place_order
from support.evidence import rows
from support.stores import Databases, execute

DAMAGES = {
    "text that is not UTF-8": TEXT_THAT_IS_NOT_UTF8,
    "a year after 9999": "UPDATE orders SET created_at = '20000-01-01' WHERE id = '{}'",
    "a year before Christ": "UPDATE orders SET created_at = '0044-01-01 BC' WHERE id = '{}'",
    "an unknown type": "UPDATE orders SET type = 'limit' WHERE id = '{}'",
    "an unknown status": "UPDATE orders SET status = 'paused' WHERE id = '{}'",
    "an amount that is no number": "UPDATE orders SET amount_in = 'NaN' WHERE id = '{}'",
    "a price that is no number": "UPDATE orders SET executed_price = 'NaN' WHERE id = '{}'",
    "a negative amount": "UPDATE orders SET amount_in = -5 WHERE id = '{}'",
    "a slippage above 100 %": "UPDATE orders SET slippage_tolerance = 150 WHERE id = '{}'",
}
REFUSALS = {
    "a counter at its end": "UPDATE orders SET claims = 2147483647 WHERE id = '{}'",
    "a constraint that was added later": """
        UPDATE orders SET token_in = 'OLD' WHERE id = '{}';
        ALTER TABLE orders ADD CONSTRAINT later CHECK (token_in <> 'OLD') NOT VALID
    """,
}
NO_QUOTE = "UPDATE execution_intents SET quote = '[]' WHERE order_id = '{}'"
LATER = "SELECT lease_owner, next_run_at > now() AS later, claims FROM orders WHERE id = '{}'"


def orders_at(url: str) -> Orders:
    return Orders(
        GroupCommit(url, application_name="test"),
        Reader(url, application_name="test", connections_max=2),
        claimer=Claimer(name="test", lease_s=10),
    )


def set_aside(url: str, order_id: OrderId) -> bool:
    [row] = rows(url, LATER.format(order_id))
    return bool(row["later"]) and row["lease_owner"] is None and row["claims"] == 0


@pytest.mark.parametrize("sql", DAMAGES.values(), ids=list(DAMAGES))
@pytest.mark.parametrize("way", ["waiting", "hint", "started"])
def test_a_claim_sets_it_aside_and_gets_the_others(
    way: str, sql: str, databases: Databases
) -> None:
    url = databases.orders_url

    async def work() -> None:
        with closing(orders_at(url)) as orders:
            good, bad = [
                (await orders.place(a_new_order(id=OrderId(uuid.uuid4())))).order_id
                for _ in range(2)
            ]
            if way == "started":
                for claimed in await orders.claim_waiting(before=None, lag_s=-60, most=5):
                    await orders.release(claimed)
            damage(url, sql.format(bad))
            if way == "hint":
                found = await asyncio.gather(orders.claim(bad), orders.claim(good))
                claims = [claimed for claimed in found if claimed is not None]
            elif way == "started":
                claims = await orders.claim_started(most=5)
            else:
                claims = await orders.claim_waiting(before=None, lag_s=-60, most=5)
            if "20000" not in sql or way != "waiting":  # it is not due before its time
                assert set_aside(url, bad)
            assert [claimed.order.id for claimed in claims] == [good]

    asyncio.run(work())


@pytest.mark.parametrize("sql", REFUSALS.values(), ids=list(REFUSALS))
@pytest.mark.parametrize("way", ["waiting", "started"])
def test_a_claim_leaves_out_an_order_that_postgresql_refuses_to_write(
    way: str, sql: str, databases: Databases
) -> None:
    url = databases.orders_url

    async def work() -> None:
        with closing(orders_at(url)) as orders:
            placed = [await orders.place(a_new_order(id=OrderId(uuid.uuid4()))) for _ in range(4)]
            bad, *good = sorted(order.order_id for order in placed)
            if way == "started":
                for claimed in await orders.claim_waiting(before=None, lag_s=-60, most=5):
                    await orders.release(claimed)
            execute(url, sql.format(bad))
            if way == "started":
                claims = await orders.claim_started(most=2)
            else:
                claims = await orders.claim_waiting(before=None, lag_s=-60, most=2)

            assert len(claims) == 2
            assert {claimed.order.id for claimed in claims} < set(good)

    asyncio.run(work())


@pytest.mark.parametrize("sql", DAMAGES.values(), ids=list(DAMAGES))
def test_a_page_leaves_it_out_and_is_full(sql: str, databases: Databases) -> None:
    url = databases.orders_url

    async def work() -> None:
        with closing(orders_at(url)) as orders:
            ids = [
                (await orders.place(a_new_order(id=OrderId(uuid.uuid4())))).order_id
                for _ in range(4)
            ]
            damage(url, sql.format(ids[2]))
            page = await orders.page(Page(account_id=LOCAL_ACCOUNT, most=3))

            assert [order.id for order in page] == [ids[3], ids[1], ids[0]]

    asyncio.run(work())


@pytest.mark.parametrize("unreadable", [{0}, {4}, {5}, {3, 4, 5}, {1, 2, 3, 4}, {0, 1, 2, 3, 4, 5}])
@pytest.mark.parametrize("most", [1, 2, 3, 6])
def test_a_page_is_full_wherever_the_unreadable_are(
    most: int, unreadable: set[int], databases: Databases
) -> None:
    url = databases.orders_url

    async def work() -> None:
        with closing(orders_at(url)) as orders:
            ids = [
                (await orders.place(a_new_order(id=OrderId(uuid.uuid4())))).order_id
                for _ in range(6)
            ]
            for n in unreadable:
                damage(url, TEXT_THAT_IS_NOT_UTF8.format(ids[n]))
            page = await orders.page(Page(account_id=LOCAL_ACCOUNT, most=most))
            readable = [ids[n] for n in reversed(range(6)) if n not in unreadable]

            assert [order.id for order in page] == readable[:most]

    asyncio.run(work())


def test_an_order_with_an_unreadable_intent_is_set_aside(databases: Databases) -> None:
    url = databases.orders_url

    async def work() -> None:
        with closing(orders_at(url)) as orders:
            for _ in range(2):
                order = await place_order(orders, at=OrderStatus.SUBMITTED)
                await orders.release(order.claimed)
            bad = order.order_id
            execute(url, NO_QUOTE.format(bad))
            claims = await orders.claim_started(most=5)

            assert [claimed.order.id for claimed in claims] != [bad]
            assert len(claims) == 1
            assert set_aside(url, bad)

    asyncio.run(work())
