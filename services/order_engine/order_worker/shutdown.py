import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from order_engine.execution.domain.errors import StoreUnavailable

GRACE_S = 1.0

Answer = TypeVar("Answer")


async def answered(stop: asyncio.Event, call: Awaitable[Answer]) -> Answer:
    """What `call` comes to; raises StoreUnavailable when a second after `stop` it has come to nothing.

    A healthy store answers within that second, so that what has been claimed is not left lying.
    """
    asking, stopping = asyncio.ensure_future(call), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({asking}, timeout=GRACE_S)
        if not asking.done():
            raise StoreUnavailable("no answer before the stop")
        return asking.result()
    finally:
        asking.cancel()
        stopping.cancel()
