"""A session that runs statements over many rows, each prepared once."""

import psycopg2
from psycopg2 import errorcodes

from order_engine.execution.stores.postgres import Session, open_session
from order_engine.execution.stores.rows import Row
from order_engine.execution.stores.session_settings import PLANS

WRITER = {**PLANS, "lock_timeout": "100"}

# What a pooler causes that sends the calls of one client to several sessions.
NOT_PREPARED_HERE = (
    errorcodes.INVALID_SQL_STATEMENT_NAME,
    errorcodes.DUPLICATE_PREPARED_STATEMENT,
)


class PreparedSession:
    """Connects when it is first used, and again after `close`."""

    def __init__(self, url: str, *, application_name: str) -> None:
        self._url = url
        self._application_name = application_name
        self._session: Session | None = None
        self._prepared: set[str] = set()
        self._prepares = True

    @property
    def is_open(self) -> bool:
        return self._session is not None

    @property
    def has_prepared(self) -> bool:
        return bool(self._prepared)

    async def execute(self, sql: str, *, name: str, rows: str) -> list[Row]:
        """Runs a statement that reads %(rows)s::json; `name` stands for its text. Raises psycopg2.Error."""
        if self._session is None:
            self._session = await open_session(
                self._url,
                application_name=self._application_name,
                settings=WRITER,
            )
            self._prepares = not self._session.is_pooled
        if self._prepares:
            try:
                if name not in self._prepared:
                    typed = sql.replace("%(rows)s::json", "$1")
                    await self._session.execute(f"PREPARE {name} (json) AS {typed}")
                    self._prepared.add(name)
                return await self._session.execute(f"EXECUTE {name} (%(rows)s)", {"rows": rows})
            except psycopg2.Error as error:
                if error.pgcode not in NOT_PREPARED_HERE:
                    raise
                self._prepares = False
        return await self._session.execute(sql, {"rows": rows})

    def close(self) -> None:
        self._prepared.clear()
        self._prepares = True
        if self._session is not None:
            self._session.close()
            self._session = None
