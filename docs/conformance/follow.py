"""A reference client of the streams without I/O, and a check of it against the recordings.

    python follow.py [RECORDING...]

Call the methods of `Follower` or `ManyFollower` with what arrives on the connection, and perform
the actions that they return, in order. The check exits with 1 at the first difference. Only the
standard library is needed; `docs/streams.md` explains the rules.
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
REFUSALS = {1002, 1007, 1008, 1009, 4400, 4401, 4403}  # a reconnect does not help

# errors of the multiplexed stream, as the close codes that mean the same for one order
ERRORS = {"order_not_found": NOT_FOUND, "store_unavailable": LOST}
BAD_REQUEST = 4400  # any other error

Action = dict[str, Any]
HANG_UP: Action = {"hangUp": True}


class Follower:
    """Follows one order after the seq `after`. Each method returns the actions to perform:

    {"connect": seq}     connect with ?after=seq: immediately at the start, later after a pause
    {"deliver": frame}   process the frame; each status is delivered once, and in order
    {"hangUp": true}     close this connection, and ignore what still arrives on it
    {"outcome": word}    stop, with "ended", "not_found" or "refused"
    """

    def __init__(self, *, after: int = 0) -> None:
        self._last = after
        self._has_ended = False

    def start(self) -> list[Action]:
        return [{"connect": self._last}]

    def received(self, message: dict[str, Any]) -> list[Action]:
        if self._has_ended or "type" in message:  # a ping, or a message of a later engine
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
        """Nothing arrived for 45 s, not even a ping."""
        return [] if self._has_ended else self._hang_up()

    def closed(self, code: int) -> list[Action]:
        """The engine closed with this code; 1006 when the connection was lost."""
        if self._has_ended:
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
        self._has_ended = True
        return [{"outcome": word}]


class ManyFollower:
    """Follows many orders over one connection, each after its own seq.

    Instead of "connect" it returns these actions, and each outcome has an "orderId":

    {"open": true}       connect to /api/stream: immediately at the start, later after a pause
    {"send": request}    send this message; after a pause when it answers `store_unavailable`
    """

    def __init__(self, *, after: dict[str, int]) -> None:
        self._orders = {order_id: Follower(after=seq) for order_id, seq in after.items()}
        self._gap_requests: dict[str, list[Action]] = {}  # the last request to fill a gap

    def start(self) -> list[Action]:
        return [{"open": True}, *self._each(Follower.start)]

    def received(self, message: dict[str, Any]) -> list[Action]:
        order_id, kind = message.get("orderId"), message.get("type")
        if order_id not in self._orders:  # a ping, or a message of an order that has ended
            return []
        order = self._orders[order_id]
        resume = order.start()
        is_requested = self._gap_requests.get(order_id) == resume
        actions: list[Action] = []
        if "type" not in message:
            actions = order.received(message)
            if HANG_UP in actions:
                self._gap_requests[order_id] = resume
                actions = [] if is_requested else resume
        elif kind == "end":  # sent before the gap was noticed: another follows
            actions = resume if is_requested else order.closed(END)
        elif kind == "error":
            actions = order.closed(ERRORS.get(message["code"], BAD_REQUEST))
        return self._translated(order_id, actions)

    def silent(self) -> list[Action]:
        return [HANG_UP, *self.closed(LOST)] if self._orders else []

    def closed(self, code: int) -> list[Action]:
        self._gap_requests.clear()
        meaning = LOST if code in {END, NOT_FOUND} else code  # these are about one order
        actions = self._each(lambda order: order.closed(meaning))
        return [{"open": True}, *actions] if self._orders else actions

    def _each(self, act: Callable[[Follower], list[Action]]) -> list[Action]:
        orders = list(self._orders.items())
        return [
            action
            for order_id, order in orders
            for action in self._translated(order_id, act(order))
        ]

    def _translated(self, order_id: str, actions: list[Action]) -> list[Action]:
        """The actions of one order's follower, translated to the shared connection."""
        translated = []
        for action in actions:
            match action:
                case {"connect": seq}:
                    action = {"send": {"op": "subscribe", "orderId": order_id, "after": seq}}
                case {"outcome": word}:
                    del self._orders[order_id]
                    action = {"outcome": word, "orderId": order_id}
            translated.append(action)
        return translated


class Difference(Exception):
    """The follower returned other actions than the recorded ones."""


def replay(path: Path) -> None:
    """Replays what the engine did; raises Difference when the follower's actions differ."""
    # not splitlines(), which also splits at characters that a JSON string may contain
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").strip().split("\n")]
    follower = new_follower(lines[0])
    actions = follower.start()
    for number, line in enumerate(lines[1:], start=2):
        next_actions = actions_after(follower, line)
        if next_actions is None:
            action = actions.pop(0) if actions else None
            if action != line:
                raise Difference(f"{path.name}:{number}: expected {line}, got {action}")
            continue
        if actions:
            raise Difference(f"{path.name}:{number}: expected no action, got {actions[0]}")
        actions = next_actions
    if actions:
        raise Difference(f"{path.name}: expected no further action, got {actions[0]}")


def new_follower(start: dict[str, Any]) -> Follower | ManyFollower:
    """The follower for the first line of a recording."""
    return (
        ManyFollower(after=start["orders"]) if "orders" in start else Follower(after=start["after"])
    )


def actions_after(follower: Follower | ManyFollower, line: dict[str, Any]) -> list[Action] | None:
    """The follower's actions after a line of the engine; None for a line of the client."""
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
