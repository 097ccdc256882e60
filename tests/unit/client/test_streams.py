from contextlib import aclosing
from decimal import Decimal

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from order_engine.client import (
    EngineClient,
    EngineError,
    OrderNotFound,
    StreamLost,
    StreamRefused,
    UnexpectedAnswer,
)
from order_engine.client.frames import StatusFrame
from order_engine.client.streams import ConnectionLost, error_of_close
from order_engine.execution.domain.status import OrderStatus
from unit.client.fake_engine import (
    ORDER_ID,
    FakeStream,
    Script,
    a_closed_port,
    closes,
    cut,
    fake_stream,
    frame,
    frames,
    ping,
    run,
    sends,
    stay_silent,
)


def a_client(url: str, *, within_s: float = 5.0, silence_max_s: float = 5.0) -> EngineClient:
    return EngineClient(
        url, reconnect_max_s=0.01, reconnect_within_s=within_s, silence_max_s=silence_max_s
    )


def followed(
    *scripts: Script, after: int = 0, silence_max_s: float = 5.0
) -> tuple[list[int], FakeStream]:
    """The seqs of the frames that a client yields, and the engine that it follows."""

    async def scenario() -> tuple[list[int], FakeStream]:
        async with (
            fake_stream(*scripts) as engine,
            a_client(engine.url, silence_max_s=silence_max_s) as client,
        ):
            return [frame.seq async for frame in client.stream(ORDER_ID, after=after)], engine

    return run(scenario())


def error_of(
    *scripts: Script, repeated: Script | None = None, within_s: float = 5.0
) -> EngineError:
    async def scenario() -> EngineError:
        async with (
            fake_stream(*scripts, repeated=repeated) as engine,
            a_client(engine.url, within_s=within_s) as client,
        ):
            with pytest.raises(EngineError) as raised:
                await client.follow(ORDER_ID)
            return raised.value

    return run(scenario())


def test_a_stream_asks_for_the_order_from_its_first_status() -> None:
    _, engine = followed(frames(1, 2, 3, 4, 5))

    assert engine.paths == [f"/api/orders/{ORDER_ID}/stream"]
    assert engine.afters == [0]


def test_a_stream_ends_after_the_final_frame_when_the_engine_stays_connected() -> None:
    seqs, engine = followed([*frames(1, 2, 3, 4, 5), stay_silent])

    assert seqs == [1, 2, 3, 4, 5]
    assert engine.afters == [0]


def test_a_stream_resumes_after_a_broken_connection() -> None:
    seqs, engine = followed([*frames(1, 2), cut], frames(3, 4, 5))

    assert seqs == [1, 2, 3, 4, 5]
    assert engine.afters == [0, 2]


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013, 4408, 4429])
def test_a_stream_resumes_when_the_engine_closes_before_the_final_frame(code: int) -> None:
    seqs, engine = followed([*frames(1, 2, 3), closes(code)], frames(4, 5))

    assert seqs == [1, 2, 3, 4, 5]
    assert engine.afters == [0, 3]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_stream_retries_a_handshake_that_failed_temporarily(status: int) -> None:
    seqs, engine = followed(status, [*frames(1, 2, 3), cut], status, frames(4, 5))

    assert seqs == [1, 2, 3, 4, 5]
    assert engine.afters == [0, 0, 3, 3]


def test_a_stream_resumes_after_silence() -> None:
    seqs, engine = followed([*frames(1, 2), stay_silent], frames(3, 4, 5), silence_max_s=0.1)

    assert seqs == [1, 2, 3, 4, 5]
    assert engine.afters == [0, 2]


def test_a_repeated_frame_is_dropped() -> None:
    seqs, engine = followed(frames(1, 2, 2, 1, 3, 4, 5))

    assert seqs == [1, 2, 3, 4, 5]
    assert engine.afters == [0]


def test_a_frame_that_is_repeated_after_a_reconnect_is_dropped() -> None:
    seqs, _ = followed([*frames(1, 2), cut], frames(1, 2, 3, 4, 5))

    assert seqs == [1, 2, 3, 4, 5]


def test_a_frame_after_a_gap_is_not_yielded() -> None:
    seqs, engine = followed([*frames(1, 3), stay_silent], frames(2, 3, 4, 5))

    assert seqs == [1, 2, 3, 4, 5]
    assert engine.afters == [0, 1]


def test_a_final_frame_after_a_gap_does_not_end_the_stream() -> None:
    seqs, engine = followed([*frames(1, 2, 5), closes(1000)], frames(3, 4, 5))

    assert seqs == [1, 2, 3, 4, 5]
    assert engine.afters == [0, 2]


def test_a_ping_is_not_yielded() -> None:
    seqs, _ = followed([ping, frame(1), ping, *frames(2, 3, 4), ping, frame(5)])

    assert seqs == [1, 2, 3, 4, 5]


def test_a_caller_gets_the_statuses_after_its_seq() -> None:
    seqs, engine = followed(frames(4, 5), after=3)

    assert seqs == [4, 5]
    assert engine.afters == [3]


def test_a_caller_with_the_final_status_gets_no_frames() -> None:
    seqs, engine = followed([closes(1000)], after=5)

    assert seqs == []
    assert engine.afters == [5]


def test_following_an_order_returns_its_statuses_and_its_fill() -> None:
    async def scenario() -> tuple[StatusFrame, ...]:
        last = frame(5, txHash="5x", executedPrice="1.49500000")
        async with (
            fake_stream([*frames(1, 2, 3, 4), last]) as engine,
            a_client(engine.url) as client,
        ):
            return await client.follow(ORDER_ID)

    *_, final = run(scenario())

    assert final.status is OrderStatus.CONFIRMED
    assert (final.tx_hash, final.executed_price) == ("5x", Decimal("1.49500000"))


def test_a_caller_that_stops_closes_the_connection() -> None:
    async def scenario() -> None:
        async with fake_stream(frames(1, 2)) as engine, a_client(engine.url) as client:
            async with aclosing(client.stream(ORDER_ID)) as stream:
                await anext(stream)
            await engine.disconnected.wait()

    run(scenario())


def test_an_unknown_order_is_an_error() -> None:
    assert isinstance(error_of([closes(4404)]), OrderNotFound)


def test_the_client_waits_a_second_after_too_many_connections() -> None:
    close = Close(4429, "too many")
    errors = [
        error_of_close(ConnectionClosedError(close, close, rcvd_then_sent=True)),
        error_of_close(ConnectionClosedError(Close(1012, ""), None)),
    ]

    assert [error.pause_min_s for error in errors if isinstance(error, ConnectionLost)] == [
        1.0,
        0.0,
    ]


@pytest.mark.parametrize("code", [1002, 1007, 1008, 1009, 4400, 4401, 4403])
def test_a_refused_stream_is_not_retried(code: int) -> None:
    error = error_of([closes(code, "no")])

    assert isinstance(error, StreamRefused)
    assert (error.code, str(error)) == (code, "no")


def test_a_protocol_error_that_the_client_detects_is_a_lost_connection() -> None:
    """A broken proxy may send invalid WebSocket frames; another connection may work."""
    close = Close(1002, "")
    error = error_of_close(ConnectionClosedError(close, close, rcvd_then_sent=False))

    assert isinstance(error, ConnectionLost)


@pytest.mark.parametrize("status", [200, 401, 404])
def test_a_refused_handshake_is_not_retried(status: int) -> None:
    error = error_of(status)

    assert isinstance(error, StreamRefused)
    assert error.code == status


def test_an_invalid_message_is_an_error() -> None:
    assert isinstance(error_of([sends("hello")]), UnexpectedAnswer)


def test_a_client_gives_up_when_the_engine_stays_unreachable() -> None:
    async def scenario(url: str) -> None:
        async with a_client(url, within_s=0.1) as client:
            with pytest.raises(StreamLost):
                await client.follow(ORDER_ID)

    with a_closed_port() as url:
        run(scenario(url))


@pytest.mark.parametrize(
    "repeated", [[closes(1011)], [closes(1000)], [frame(3)], [frame(1), cut], 503]
)
def test_a_client_gives_up_when_no_new_frame_arrives(repeated: Script) -> None:
    assert isinstance(error_of(repeated=repeated, within_s=0.1), StreamLost)


def test_the_error_of_a_lost_stream_has_the_seq_to_resume_from() -> None:
    error = error_of([*frames(1, 2), cut], repeated=503, within_s=0.1)

    assert isinstance(error, StreamLost)
    assert error.last_seq == 2
