"""The rules of a stream's client in forty lines, and a check of them against the recordings.

    python follow.py [RECORDING...]

`Follower` does no I/O: tell it what came, and do what it answers. Replaying ends with 1 at the first
difference. Standard library only; `docs/streams.md` explains the rules.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parent / "recordings"

FINAL = {"confirmed", "failed"}
END = 1000
NOT_FOUND = 4404
REFUSALS = {1009, 4400, 4401, 4403}  # asking again does not help

Action = dict[str, Any]


class Follower:
    """Follows one order from `after` on; every method answers with what to do, in order.

    {"connect": seq}     open a connection with ?after=seq; a second time, after a pause
    {"deliver": frame}   pass it on: each status once, and in order
    {"hangUp": true}     close this connection, whose word is not to be trusted any more
    {"outcome": word}    it is over: "ended", "not_found" or "refused"
    """

    def __init__(self, *, after: int = 0) -> None:
        self._last = after
        self._over = False

    def start(self) -> list[Action]:
        return [{"connect": self._last}]

    def received(self, message: dict[str, Any]) -> list[Action]:
        if self._over or "type" in message:  # a ping, or what a later engine says
            return []
        seq = message["seq"]
        if seq <= self._last:
            return []
        if seq > self._last + 1:
            return self._hang_up()
        self._last = seq
        delivery: Action = {"deliver": message}
        return [delivery, *self._end("ended")] if message["status"] in FINAL else [delivery]

    def silent(self) -> list[Action]:
        """Nothing came for 45 s, not even a ping."""
        return [] if self._over else self._hang_up()

    def closed(self, code: int) -> list[Action]:
        """By the engine; 1006 where it was lost without a word."""
        if self._over:
            return []
        if code == END:
            return self._end("ended")
        if code == NOT_FOUND:
            return self._end("not_found")
        if code in REFUSALS:
            return self._end("refused")
        return [{"connect": self._last}]

    def _hang_up(self) -> list[Action]:
        return [{"hangUp": True}, {"connect": self._last}]

    def _end(self, word: str) -> list[Action]:
        self._over = True
        return [{"outcome": word}]


class Difference(Exception):
    """The follower did not do what a right one does."""


def replay(path: Path) -> None:
    """Tells a follower what the engine did; raises Difference unless it does what is recorded."""
    # not splitlines(), which also ends a line where a string of JSON may go on
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").strip().split("\n")]
    follower = Follower(after=lines[0]["after"])
    actions = follower.start()
    for number, line in enumerate(lines[1:], start=2):
        answer = answers(follower, line)
        if answer is None:
            done = actions.pop(0) if actions else None
            if done != line:
                raise Difference(f"{path.name}:{number}: expected {line}, and not {done}")
            continue
        if actions:
            raise Difference(f"{path.name}:{number}: nothing more expected, and not {actions[0]}")
        actions = answer
    if actions:
        raise Difference(f"{path.name}: nothing more expected, and not {actions[0]}")


def answers(follower: Follower, line: dict[str, Any]) -> list[Action] | None:
    """What the follower does about something that the engine did; None for any other line."""
    match line:
        case {"message": message}:
            return follower.received(message)
        case {"closed": code}:
            return follower.closed(code)
        case {"silence": _}:
            return follower.silent()
    return None


def recordings(names: Sequence[str]) -> list[Path]:
    return [Path(name) for name in names] or sorted(RECORDINGS.glob("*.jsonl"))


def main() -> None:
    replayed = 0
    for path in recordings(sys.argv[1:]):
        try:
            replay(path)
        except Difference as difference:
            sys.exit(str(difference))
        replayed += 1
    if not replayed:
        sys.exit("no recordings found")
    sys.stdout.write(f"{replayed} recordings replayed, no difference\n")


if __name__ == "__main__":
    main()
