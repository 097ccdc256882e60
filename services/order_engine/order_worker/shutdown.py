import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from order_engine.execution.domain.errors import StoreUnavailable

GRACE_S = 1.0

Answer = TypeVar("Answer")


async def unless_stopped(stop: asyncio.Event, call: Awaitable[Answer]) -> Answer:
    """The result of `call`; raises StoreUnavailable when there is none 1 s after `stop` is set.

    A healthy store answers within that second, so an order that was just claimed is released, not
    left until its lease expires.
    """
    calling, stopping = asyncio.ensure_future(call), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({calling, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({calling}, timeout=GRACE_S)
        if not calling.done():
            raise StoreUnavailable("no answer before the process stopped")
        return calling.result()
    finally:
        calling.cancel()
        stopping.cancel()
