"""The delivery of one order's events to one client, small enough to be searched completely.

Events are committed in PostgreSQL, published on a bus, appended by the ws-gateway to the order's
feed, sent over a socket, and kept by a client that reconnects when the socket breaks. What each
part may do, in every possible order:

    bus       loses messages, repeats them, reorders them; a message that arrives without a
              subscription is lost, and a subscription may break at any time
    feed      drops an old event and appends the next one; any other event makes it load what is
              missing
    load      reads PostgreSQL, and appends the result in a later step
    check     a position in PostgreSQL beyond that of the feed makes the feed load
    connect   subscribe and wait for the confirmation, then load, then send from `after` on
    client    asks for the events after the last seq that it has

A feed remains after its socket is closed while another socket follows the order. Without a socket
it may disappear at any time, as all feeds do when the gateway crashes.

Why that is enough for P3: a feed only grows by its next seq, from the bus or from a read, so a
cursor into it cannot skip or repeat; and whatever the bus does, the check compares the feed with
PostgreSQL. Safety never depends on the bus, and progress only on PostgreSQL. Subscribing before
reading, and reading again for events that arrived during a read, save time: with both, no event
waits for the check unless the bus has lost a message.

An event is old when its seq is not beyond the last one of the feed. The number of repeats needs no
bound: a message that has arrived may stay on the bus.
"""

from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from models.search import Model, Step

EVENTS = 3  # the last one is final


class Flaw(StrEnum):
    """A rule that the model leaves out."""

    NO_GAP_FILL = "an event beyond the next seq is appended as it arrives"
    NO_DEDUPE = "an old event is appended again"
    NO_POSITION_CHECK = "the feed is never compared with PostgreSQL"
    READ_THEN_SUBSCRIBE = "history is read before the subscription is confirmed"
    LOST_WHILE_LOADING = "an event that arrives during a load is forgotten"
    RESUMED_FROM_START = "the gateway ignores `after` and sends from the first event"
    CLIENT_WITHOUT_SEQ = "the client remembers no seq, and accepts every event"


Flaws = frozenset[Flaw]


class Socket(StrEnum):
    DOWN = "down"
    SUBSCRIBING = "subscribing"
    LOADING = "loading"
    OPEN = "open"


class Load(NamedTuple):
    read: int | None = None  # the last event at the time of the read
    newest: int = 0  # the newest seq that has arrived since the load began


class State(NamedTuple):
    committed: int = 1
    bus: frozenset[int] = frozenset({1})  # published, and may still arrive
    subscribed: bool = False
    feed: tuple[int, ...] | None = None
    load: Load | None = None
    socket: Socket = Socket.DOWN
    after: int = 0  # the seq that the client sent
    sent: int = 0  # over this socket
    wire: tuple[int, ...] = ()
    log: tuple[int, ...] = ()  # what the client has received

    @property
    def last(self) -> int:
        return self.feed[-1] if self.feed else 0

    def loading(self) -> "State":
        """With a load started, unless one is running or the feed is complete."""
        final = self.last >= EVENTS
        return self if self.load is not None or final else self._replace(load=Load())

    def advanced(self, flaws: Flaws) -> "State":
        """With the socket in its next phase; a complete feed skips the load."""
        phases = [Socket.DOWN, Socket.SUBSCRIBING, Socket.LOADING, Socket.OPEN]
        if Flaw.READ_THEN_SUBSCRIBE in flaws:
            phases[1:3] = Socket.LOADING, Socket.SUBSCRIBING
        state = self._replace(socket=phases[phases.index(self.socket) + 1])
        if state.socket is not Socket.LOADING:
            return state
        state = state.loading()
        return state if state.load is not None else state.advanced(flaws)

    def appended(self, *seqs: int) -> "State":
        return self._replace(feed=(*(self.feed or ()), *seqs))

    def down(self) -> "State":
        return self._replace(socket=Socket.DOWN, after=0, sent=0, wire=())


def delivery_model(*flaws: Flaw, reliable: bool = False) -> Model[State]:
    """When `reliable`, neither the bus nor a read loses anything, and both are fair."""
    return Model(
        start=State(),
        steps=partial(_steps, flaws=frozenset(flaws), reliable=reliable),
        broken=_broken,
        ended=lambda state: state.log == tuple(range(1, EVENTS + 1)),
    )


# The rules


def _broken(state: State) -> str | None:
    end = state.after + state.sent + 1
    if state.wire != tuple(range(end - len(state.wire), end)):
        return "a socket does not carry the events after `after`, in order, each once"
    if state.log != tuple(range(1, len(state.log) + 1)):
        return "a client does not receive 1..n in order, each once"
    return None


# The steps of each part


def _steps(state: State, *, flaws: Flaws, reliable: bool) -> Iterator[Step[State]]:
    if state.committed < EVENTS:
        seq = state.committed + 1
        published = state._replace(committed=seq, bus=state.bus | {seq})
        yield Step(f"event {seq} is committed and published", published)
    yield from _bus_steps(state, flaws, reliable)
    yield from _subscription_steps(state, flaws, reliable)
    if state.feed is not None:
        yield from _feed_steps(state, flaws, reliable)
    yield from _socket_steps(state, flaws, reliable)


def _bus_steps(state: State, flaws: Flaws, reliable: bool) -> Iterator[Step[State]]:
    for seq in sorted(state.bus):
        gone = state._replace(bus=state.bus - {seq})
        if not reliable:
            yield Step(f"event {seq} is lost", gone, fair=False)
        if state.subscribed:
            arrived = _offered(state, seq, flaws)
            yield Step(f"event {seq} arrives, and will again", arrived, fair=False)
            yield Step(f"event {seq} arrives", arrived._replace(bus=gone.bus), reliable)
        else:
            yield Step(f"event {seq} arrives without a subscription", gone, reliable)


def _offered(state: State, seq: int, flaws: Flaws) -> State:
    """The feed once the event has arrived."""
    if seq <= state.last:
        return state.appended(seq) if Flaw.NO_DEDUPE in flaws else state
    if state.load is not None:
        if Flaw.LOST_WHILE_LOADING in flaws:
            return state
        newest = max(seq, state.load.newest)
        return state._replace(load=state.load._replace(newest=newest))
    if seq == state.last + 1 or Flaw.NO_GAP_FILL in flaws:
        return state.appended(seq)
    return state.loading()


def _subscription_steps(state: State, flaws: Flaws, reliable: bool) -> Iterator[Step[State]]:
    too_early = Flaw.READ_THEN_SUBSCRIBE in flaws and state.socket is Socket.LOADING
    if state.feed is not None and not state.subscribed and not too_early:
        yield Step("the subscription is confirmed", state._replace(subscribed=True))
    if state.subscribed and not reliable:
        yield Step("the subscription breaks", state._replace(subscribed=False), fair=False)


def _feed_steps(state: State, flaws: Flaws, reliable: bool) -> Iterator[Step[State]]:
    if state.socket is Socket.DOWN:
        gone = state._replace(feed=None, load=None, subscribed=False)
        yield Step("the feed is dropped with its last follower", gone, fair=False)
    if state.load is not None:
        if state.load.read is None:
            read = state.load._replace(read=state.committed)
            yield Step(f"the load reads up to {state.committed}", state._replace(load=read))
        else:
            yield Step("the load ends", _loaded(state, state.load.read, state.load.newest, flaws))
        if not reliable:
            failed = state._replace(load=None)
            waiting = state.socket is Socket.LOADING
            yield Step("the load fails", failed.down() if waiting else failed, fair=False)
    elif state.last < state.committed and Flaw.NO_POSITION_CHECK not in flaws:
        yield Step("the position check finds more", state.loading())


def _loaded(state: State, read: int, newest: int, flaws: Flaws) -> State:
    state = state._replace(load=None).appended(*range(state.last + 1, read + 1))
    if state.socket is Socket.LOADING:
        state = state.advanced(flaws)
    return state.loading() if newest > state.last else state


def _socket_steps(state: State, flaws: Flaws, reliable: bool) -> Iterator[Step[State]]:
    if state.socket is Socket.DOWN:
        after = 0 if Flaw.CLIENT_WITHOUT_SEQ in flaws else len(state.log)
        asked = state._replace(feed=state.feed or (), after=after)
        yield Step(f"the client connects after {after}", asked.advanced(flaws))
        return
    yield Step("the socket breaks", state.down(), fair=False)
    if state.socket is Socket.SUBSCRIBING and state.subscribed:
        yield Step("the gateway continues", state.advanced(flaws))
    elif state.socket is Socket.SUBSCRIBING and not reliable:
        yield Step(
            "the gateway continues without a subscription", state.advanced(flaws), fair=False
        )
    cursor = state.sent if Flaw.RESUMED_FROM_START in flaws else state.after + state.sent
    if state.socket is Socket.OPEN and state.feed is not None and cursor < len(state.feed):
        seq = state.feed[cursor]
        sent = state._replace(sent=state.sent + 1, wire=(*state.wire, seq))
        yield Step(f"the gateway sends {seq}", sent)
    if state.wire:
        yield Step(f"the client receives {state.wire[0]}", _received(state, flaws))


def _received(state: State, flaws: Flaws) -> State:
    seq, *wire = state.wire
    received = state._replace(wire=tuple(wire))
    if seq == len(state.log) + 1 or Flaw.CLIENT_WITHOUT_SEQ in flaws:
        return received._replace(log=(*state.log, seq))
    return received if seq <= len(state.log) else state.down()
