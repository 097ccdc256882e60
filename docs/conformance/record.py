"""Records what a running engine sends, and what a correct client does in response.

    python record.py API_URL STREAMS_URL DIRECTORY

Places orders on an engine in open mode and follows them as follow.py does. Faults are simulated on
this side, as a broken proxy would cause them: a frame that does not arrive, a connection that ends.
Needs the packages `httpx2` and `websockets`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from follow import actions_after, new_follower
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

ORDER = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "100", "slippageTolerance": 5}
UNKNOWN = "019c0a5e-7c3b-7d11-9f6e-2b8a4c5d6e7f"
WITHIN_S = 30
NEVER = -1

Line = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`loses` has the seqs whose first frame is dropped.

    The connection ends after `breaks_after` messages.
    With `waits`, the orders have ended before they are followed.
    """

    title: str
    afters: Sequence[int] = (0,)
    unknown_ids: Sequence[str] = ()
    is_multiplexed: bool = True
    loses: Sequence[int] = ()
    breaks_after: int = NEVER
    waits: bool = False

    def first_line(self, order_ids: Sequence[str]) -> Line:
        orders = dict(zip(order_ids, self.afters, strict=True))
        if not self.is_multiplexed:
            return {"recording": self.title, "after": self.afters[0]}
        return {"recording": self.title, "orders": {**orders, **dict.fromkeys(self.unknown_ids, 0)}}


PLANS: Mapping[str, Plan] = {
    "40-recorded-a-life": Plan(title="From pending to the final status", is_multiplexed=False),
    "41-recorded-a-loss": Plan(
        title="After a loss the client reconnects with its last seq",
        is_multiplexed=False,
        breaks_after=2,
    ),
    "42-recorded-many": Plan(
        title="Three orders, each followed in order to its final status", afters=(0, 0, 2)
    ),
    "43-recorded-many-a-gap": Plan(
        title="A gap is filled by subscribing again", afters=(0, 0), loses=(3,)
    ),
    "44-recorded-many-a-loss": Plan(
        title="After a loss the client subscribes to each unfinished order with its last seq",
        afters=(0, 0),
        breaks_after=5,
    ),
    "45-recorded-many-an-unknown-order": Plan(
        title="An unknown order does not affect the other order", unknown_ids=(UNKNOWN,)
    ),
    "46-recorded-many-nothing-left": Plan(
        title="With `after` at the last seq the engine sends only an `end`",
        afters=(5, 6),
        waits=True,
    ),
    "47-recorded-many-a-gap-of-what-is-over": Plan(
        title="An `end` that was sent before the client subscribed again is ignored",
        loses=(3,),
        waits=True,
    ),
}


class Wire:
    """The connection to the engine, with the faults of the plan."""

    def __init__(self, plan: Plan, *, order_url: str, many_url: str) -> None:
        self._order_url = order_url
        self._many_url = many_url
        self._seqs_to_lose = set(plan.loses)
        self._messages_before_break = plan.breaks_after
        self._socket: ClientConnection | None = None

    def perform(self, action: Line) -> None:
        match action:
            case {"open": _}:
                self._socket = connect(self._many_url, proxy=None)
            case {"connect": seq}:
                self._socket = connect(f"{self._order_url}?after={seq}", proxy=None)
            case {"send": request}:
                self._connected().send(json.dumps(request))

    def next_line(self) -> Line:
        if self._messages_before_break == 0:
            self._messages_before_break = NEVER
            self.close()
            return {"closed": 1006}
        while True:
            try:
                message = json.loads(self._connected().recv(timeout=WITHIN_S))
            except ConnectionClosed as closed:
                return {"closed": closed.rcvd.code if closed.rcvd else 1006}
            if message.get("seq") in self._seqs_to_lose:
                self._seqs_to_lose.remove(message["seq"])
                continue
            self._messages_before_break -= 1
            return {"message": message}

    def close(self) -> None:
        self._connected().close()

    def _connected(self) -> ClientConnection:
        assert self._socket is not None  # noqa: S101 - a follower connects first
        return self._socket


def record(plan: Plan, *, api_url: str, streams_url: str) -> list[Line]:
    order_ids = [place_order(api_url) for _ in plan.afters]
    url = streams_url.replace("http", "ws", 1)
    order_urls = [f"{url}/api/orders/{order_id}/stream" for order_id in order_ids]
    wire = Wire(plan, order_url=order_urls[0], many_url=f"{url}/api/stream")
    if plan.waits:
        for order_url in order_urls:
            with connect(order_url, proxy=None) as socket:
                list(socket)
    lines = [plan.first_line(order_ids)]
    follower = new_follower(lines[0])
    actions = follower.start()
    open_orders = len(order_ids) + len(plan.unknown_ids)
    while True:
        for action in actions:
            wire.perform(action)
        lines += actions
        open_orders -= sum("outcome" in action for action in actions)
        if open_orders == 0:
            wire.close()
            return lines
        lines.append(wire.next_line())
        actions = actions_after(follower, lines[-1]) or []


def place_order(api_url: str) -> str:
    response = httpx2.post(f"{api_url}/api/orders/execute", json=ORDER).raise_for_status()
    order_id: str = response.json()["orderId"]
    return order_id


def main(api_url: str, streams_url: str, directory: str) -> None:
    for name, plan in PLANS.items():
        lines = record(plan, api_url=api_url, streams_url=streams_url)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (Path(directory) / f"{name}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
