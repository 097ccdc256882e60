"""The rules of a stream's client in some lines, and a check of them against the recordings.

    python follow.py [RECORDING...]

`Follower` and `ManyFollower` do no I/O: tell them what came, and do what they answer. Replaying ends
with 1 at the first difference. Standard library only; `docs/streams.md` explains the rules.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parent / "recordings"

FINAL = {"confirmed", "failed"}
END = 1000
LOST = 1006
NOT_FOUND = 4404
REFUSALS = {1002, 1007, 1008, 1009, 4400, 4401, 4403}  # asking again does not help

# what an error of the multiplexed stream comes to, as the code that says the same of one order
ERRORS = {"order_not_found": NOT_FOUND, "store_unavailable": LOST}
BAD_REQUEST = 4400  # any other

Action = dict[str, Any]
HANG_UP: Action = {"hangUp": True}


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
        return [HANG_UP, {"connect": self._last}]

    def _end(self, word: str) -> list[Action]:
        self._over = True
        return [{"outcome": word}]


class ManyFollower:
    """Follows many orders over one connection, each from its own seq on; answers besides

    {"open": true}       open a connection to /api/stream; a second time, after a pause
    {"send": request}    say this; after a pause where it was answered with `store_unavailable`

    and names the order in an outcome.
    """

    def __init__(self, *, after: dict[str, int]) -> None:
        self._orders = {order_id: Follower(after=seq) for order_id, seq in after.items()}
        self._asked: dict[str, list[Action]] = {}  # how each was resumed to have a gap filled

    def start(self) -> list[Action]:
        return [{"open": True}, *self._each(Follower.start)]

    def received(self, message: dict[str, Any]) -> list[Action]:
        order_id, kind = message.get("orderId"), message.get("type")
        if order_id not in self._orders:  # a ping, or of an order that is over
            return []
        order = self._orders[order_id]
        resume = order.start()
        is_asked = self._asked.get(order_id) == resume
        actions: list[Action] = []
        if "type" not in message:
            actions = order.received(message)
            if HANG_UP in actions:
                self._asked[order_id] = resume
                actions = [] if is_asked else resume
        elif kind == "end":  # it was under way when the gap was seen: another will come
            actions = resume if is_asked else order.closed(END)
        elif kind == "error":
            actions = order.closed(ERRORS.get(message["code"], BAD_REQUEST))
        return self._named(order_id, actions)

    def silent(self) -> list[Action]:
        return [HANG_UP, *self.closed(LOST)] if self._orders else []

    def closed(self, code: int) -> list[Action]:
        self._asked.clear()
        meant = LOST if code in {END, NOT_FOUND} else code  # these speak of one order
        actions = self._each(lambda order: order.closed(meant))
        return [{"open": True}, *actions] if self._orders else actions

    def _each(self, act: Callable[[Follower], list[Action]]) -> list[Action]:
        orders = list(self._orders.items())
        return [done for order_id, order in orders for done in self._named(order_id, act(order))]

    def _named(self, order_id: str, actions: list[Action]) -> list[Action]:
        """What one order's follower would do with a connection of its own, done with this one."""
        named = []
        for action in actions:
            match action:
                case {"connect": seq}:
                    action = {"send": {"op": "subscribe", "orderId": order_id, "after": seq}}
                case {"outcome": word}:
                    del self._orders[order_id]
                    action = {"outcome": word, "orderId": order_id}
            named.append(action)
        return named


class Difference(Exception):
    """The follower did not do what a right one does."""


def replay(path: Path) -> None:
    """Tells a follower what the engine did; raises Difference unless it does what is recorded."""
    # not splitlines(), which also ends a line where a string of JSON may go on
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").strip().split("\n")]
    follower = a_follower(lines[0])
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


def a_follower(start: dict[str, Any]) -> Follower | ManyFollower:
    """What the first line of a recording asks for."""
    return (
        ManyFollower(after=start["orders"]) if "orders" in start else Follower(after=start["after"])
    )


def answers(follower: Follower | ManyFollower, line: dict[str, Any]) -> list[Action] | None:
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
