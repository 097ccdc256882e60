"""A connection to Redis for a thread that calls in a loop.

The pool, the retries and the events of redis-py's client cost as much as a call itself.
"""

from collections.abc import Sequence
from typing import Any

import redis
from redis.commands.core import Script
from redis.exceptions import NoScriptError

Command = Sequence[Any]


class DirectConnection:
    """Connects as `client` does, when it is first used and after a failure. Not safe between threads.

    Calls raise redis.RedisError. None is repeated, except with the text of a script that Redis does
    not know.
    """

    def __init__(self, client: redis.Redis) -> None:
        pool: Any = client.connection_pool  # untyped in redis
        self._connection = pool.make_connection()

    def call(self, *commands: Command) -> list[Any]:
        """The replies to commands that are sent together. An error reply fails the whole call."""
        connection = self._connection
        try:
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            return [connection.read_response() for _ in commands]
        except BaseException:
            connection.disconnect()  # replies may be unread
            raise

    def run(self, script: Script, *, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        """The reply of a script."""
        call = (len(keys), *keys, *args)
        try:
            [reply] = self.call(("EVALSHA", script.sha, *call))
        except NoScriptError:
            [reply] = self.call(("EVAL", script.script, *call))
        return reply

    def close(self) -> None:
        self._connection.disconnect()
