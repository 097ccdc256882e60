import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from order_engine.execution.messages.hints import Hints
from order_engine.execution.messages.seals import Seal
from order_engine.execution.orders.claims import Claimer
from order_engine.execution.orders.repository import Orders
from order_engine.execution.settings import OrderWorkerSettings
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.stores.postgres import Reader
from order_engine.execution.stores.redis_clients import async_redis_client
from order_engine.execution.venues.catalogue import venues
from order_engine.order_worker.executor import Executor, RetryPolicy
from order_engine.order_worker.leases import Leases
from order_engine.order_worker.steps import Market

NAME = "order-worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    orders: Orders
    executor: Executor


@asynccontextmanager
async def runtime(
    settings: OrderWorkerSettings, *, now: Callable[[], datetime]
) -> AsyncIterator[Runtime]:
    """The orders and the executor; their connections are closed with the context."""
    seal = Seal()
    hints = Hints(async_redis_client(settings.queue_url), seal, now=now)
    commits = GroupCommit(settings.database_url, application_name=NAME, on_events=hints.announce)
    reader = Reader(
        settings.database_url,
        application_name=NAME,
        connections_max=settings.database_connections_max,
    )
    chain = GroupCommit(settings.ledger_url, application_name="simulated-chain")
    leases = Leases(
        settings.database_url,
        application_name=f"{NAME}-leases",
        lease_s=settings.order_lease_s,
        renew_every_s=settings.order_lease_renew_s,
    )
    orders = Orders(
        commits,
        reader,
        claimer=Claimer(
            name=f"{socket.gethostname()}-{os.getpid()}-{_start_id()}",
            lease_s=settings.order_lease_s,
        ),
    )
    executor = Executor(
        orders=orders,
        market=_market(settings, chain, now=now),
        retry=RetryPolicy(
            attempts_max=settings.order_attempts_max, backoff_s=settings.order_backoff_s
        ),
        lease_held=leases.held,
    )
    unlocking = asyncio.create_task(seal.unlock(reader))
    try:
        yield Runtime(orders=orders, executor=executor)
    finally:
        unlocking.cancel()
        await asyncio.gather(unlocking, return_exceptions=True)
        await asyncio.gather(orders.finish(), chain.finish(), asyncio.to_thread(leases.close))
        await hints.finish()


def _market(
    settings: OrderWorkerSettings, chain: GroupCommit, *, now: Callable[[], datetime]
) -> Market:
    return Market(
        venues=venues(settings, chain=chain),
        quote_timeout_s=settings.quote_timeout_s,
        poll_s=settings.venue_poll_s,
        now=now,
    )


def _start_id() -> str:
    """Random: containers often have the same host name and pid as the one before."""
    return f"{random.SystemRandom().getrandbits(32):08x}"
