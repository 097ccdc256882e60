import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import structlog

from order_engine.execution import metrics
from order_engine.execution.domain.ids import OrderId
from order_engine.execution.domain.order import ClaimedOrder
from order_engine.execution.orders.claims import RENEW, lease_rows
from order_engine.execution.stores.batches import CLOSE_S
from order_engine.execution.stores.connections import Connection, connect

log = structlog.get_logger()


class Leases:
    """Renews the leases of all orders that this process executes, in one statement.

    On a thread and connection of its own, so that leases are renewed while other writes wait.
    """

    def __init__(
        self,
        url: str,
        *,
        application_name: str,
        lease_s: float,
        renew_every_s: float,
    ) -> None:
        self._url = url
        self._application_name = application_name
        self._lease_s = lease_s
        self._renew_every_s = renew_every_s
        self._held: set[tuple[OrderId, int]] = set()
        self._connection: Connection | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
        self._thread.start()

    @contextmanager
    def held(self, claimed: ClaimedOrder) -> Iterator[None]:
        """Renews the order's lease while the context is open."""
        lease = (claimed.order.id, claimed.epoch)
        self._held.add(lease)
        try:
            with metrics.LEASES_HELD.track_inprogress():
                yield
        finally:
            self._held.discard(lease)

    def close(self) -> None:
        self._closed.set()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._closed.wait(self._renew_every_s):
            try:
                self._renew()
            except psycopg2.Error as error:
                metrics.LEASE_RENEWALS_FAILED.inc()
                log.warning("leases not renewed", error=str(error).strip())
                self._disconnect()
        self._disconnect()

    def _renew(self) -> None:
        leases = self._held.copy()
        if not leases:
            return
        if self._connection is None:
            self._connection = connect(self._url, application_name=self._application_name)
        with (
            metrics.COMMIT_SECONDS.labels(statement="renew").time(),
            self._connection.cursor() as cursor,
        ):
            cursor.execute(RENEW, {"rows": json.dumps(lease_rows(leases, lease_s=self._lease_s))})

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
