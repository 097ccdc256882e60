"""The recordings of docs/conformance: what they hold, and who follows them rightly."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from jsonschema import Draft7Validator
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from order_engine.client import EngineClient, OrderNotFound, StatusFrame, StreamRefused
from order_engine.execution.domain.status import FINAL
from order_engine.execution.messages.stream_contract import CLOSE_MEANINGS
from order_engine.gateway.contract.asyncapi import document
from support.fleet import INSTANT, running_fleet
from support.stores import Databases

CONFORMANCE = Path(__file__).parents[3] / "docs" / "conformance"
RECORDINGS = sorted((CONFORMANCE / "recordings").glob("*.jsonl"))
FOLLOWERS = {"follow.py": [sys.executable], "follow.mjs": ["node"]}
LOST = 1006
DOORS = ("gateway", "ws-gateway")
SILENCE_S = 0.3

ONE = ("status", "ping")
MANY = (*ONE, "error", "end")

Line = dict[str, Any]

every_recording = pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
every_follower = pytest.mark.parametrize("follower", FOLLOWERS)


def lines_of(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").strip().split("\n")]


def is_of_many(path: Path) -> bool:
    return "orders" in lines_of(path)[0]


# What they hold


@every_recording
def test_every_frame_and_ping_is_one_of_the_engine(path: Path) -> None:
    schemas = {"components": document()["components"]}
    names = MANY if is_of_many(path) else ONE
    payloads = [schemas["components"]["messages"][name]["payload"] for name in names]
    known = Draft7Validator({"oneOf": payloads, **json.loads(json.dumps(schemas))})
    messages = [line["message"] for line in lines_of(path) if "message" in line]

    assert all(known.is_valid(each) or each["type"] == "notice" for each in messages)


@every_recording
def test_every_close_code_is_one_of_the_engine(path: Path) -> None:
    codes = {line["closed"] for line in lines_of(path) if "closed" in line}

    assert codes <= {*CLOSE_MEANINGS, LOST}


@every_recording
def test_what_is_delivered_is_gap_free_and_ends_with_the_order(path: Path) -> None:
    for after, frames in delivered(path):
        first = after + 1

        assert [each["seq"] for each in frames] == [*range(first, first + len(frames))]
        assert all(each["status"] not in FINAL for each in frames[:-1])


def delivered(path: Path) -> list[tuple[int, list[Line]]]:
    """Of each order the seq that the client began with, and what was passed on."""
    start, *lines = lines_of(path)
    frames = [line["deliver"] for line in lines if "deliver" in line]
    if not is_of_many(path):
        return [(start["after"], frames)]
    return [
        (after, [each for each in frames if each["orderId"] == order_id])
        for order_id, after in start["orders"].items()
    ]


def test_together_they_hold_every_close_code_of_a_stream() -> None:
    codes = {line["closed"] for path in RECORDINGS for line in lines_of(path) if "closed" in line}

    assert set(CLOSE_MEANINGS) <= codes


# The reference followers


def replayed(follower: str, script: Path, *recordings: Path) -> subprocess.CompletedProcess[str]:
    [program] = FOLLOWERS[follower]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: {follower} was not run")
    return subprocess.run(
        [program, str(script), *map(str, recordings)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@every_follower
def test_a_reference_follower_follows_every_recording(follower: str) -> None:
    done = replayed(follower, CONFORMANCE / follower)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{len(RECORDINGS)} recordings replayed, no difference\n"


def test_recordings_may_be_named() -> None:
    done = replayed("follow.py", CONFORMANCE / "follow.py", RECORDINGS[0])

    assert done.stdout == "1 recordings replayed, no difference\n"


@every_follower
def test_only_a_newline_ends_a_line(follower: str, tmp_path: Path) -> None:
    """A string of JSON may hold the other ends of a line as they are."""
    recording = tmp_path / "lines.jsonl"
    start, *lines = RECORDINGS[0].read_text(encoding="utf-8").split("\n")
    start = start.replace("over one", "over\u2028\x85one")
    recording.write_text("\n".join([start, *lines]), encoding="utf-8", newline="\n")

    assert replayed(follower, CONFORMANCE / follower, recording).returncode == 0


@pytest.mark.fleet
def test_what_an_engine_sends_now_is_followed_as_what_it_sent_then(
    databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    with running_fleet(databases, redis_url, tmp_path, INSTANT) as fleet:
        urls = [f"http://127.0.0.1:{fleet[name].ports['PORT']}" for name in DOORS]
        record = [sys.executable, str(CONFORMANCE / "record.py"), *urls, str(recordings)]
        subprocess.run(record, check=True, timeout=90)
    made = sorted(recordings.iterdir())

    assert [path.name for path in made] == [path.name for path in RECORDINGS if is_recorded(path)]
    for path in made:
        assert seqs(path) == seqs(CONFORMANCE / "recordings" / path.name)
    for follower in FOLLOWERS:
        assert replayed(follower, CONFORMANCE / follower, *made).returncode == 0


def is_recorded(path: Path) -> bool:
    return "-recorded-" in path.name


def seqs(path: Path) -> list[list[int]]:
    return [[each["seq"] for each in frames] for _, frames in delivered(path)]


# A rule taken away: what it stands as in Python and in JavaScript, and what is there instead.
RULES = {
    "repeats are dropped": ("seq <= self._last", "message.seq <= this.#last", "false"),
    "gaps are noticed": ("seq > self._last + 1", "message.seq > this.#last + 1", "false"),
    "pings are no frames": ('"type" in message', '"type" in message', "false"),
    "the seq is remembered": ("self._last = seq", "this.#last = message.seq", "0"),
    "the final status is the end": (
        'message["status"] in FINAL',
        "FINAL.has(message.status)",
        "false",
    ),
    "1000 is the end": ("code == END", "code === END", "false"),
    "4404 is an answer": ("code == NOT_FOUND", "code === NOT_FOUND", "false"),
    "a refusal is one": ("code in REFUSALS", "REFUSALS.has(code)", "false"),
    "an end is one": ('kind == "end"', 'kind === "end"', "false"),
    "an error is heard": ('kind == "error"', 'kind === "error"', "false"),
    "a gap is asked for once, and an end before it is filled is of what was before": (
        "self._gap_requests.get(order_id) == resume",
        "this.#gapRequests.get(orderId) === resume[0].connect",
        "false",
    ),
    "1000 is no end of many": (
        "code in {END, NOT_FOUND}",
        "[END, NOT_FOUND].includes(code)",
        "false",
    ),
}


@every_follower
@pytest.mark.parametrize("rule", RULES)
def test_without_any_of_its_rules_a_follower_fails(
    follower: str, rule: str, tmp_path: Path
) -> None:
    in_python, in_javascript, instead = RULES[rule]
    source = (CONFORMANCE / follower).read_text()
    python = follower.endswith(".py")
    known = in_python if python else in_javascript
    assert source.count(known) == 1
    broken = tmp_path / follower
    broken.write_text(source.replace(known, instead.title() if python else instead))

    assert replayed(follower, broken, *RECORDINGS).returncode != 0


# Our own client


@dataclass(slots=True)
class Played:
    """An engine that does as the recording says, and notes what the client asked it for."""

    lines: Iterator[Line]
    asked: list[int]
    url: str = ""

    async def play(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        query = parse_qs(urlsplit(connection.request.path).query)
        self.asked.append(int(query["after"][0]))
        with suppress(ConnectionClosed):
            for line in self.lines:
                match line:
                    case {"message": message}:
                        await connection.send(json.dumps(message))
                    case {"closed": 1006}:
                        connection.transport.abort()
                        return
                    case {"closed": code}:
                        await connection.close(code)
                        return
                    case {"hangUp": _}:
                        break
            await connection.wait_closed()


@asynccontextmanager
async def played(path: Path) -> AsyncIterator[Played]:
    engine = Played(iter(lines_of(path)), [])
    async with serve(engine.play, "127.0.0.1", 0) as server:
        engine.url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield engine


async def followed(engine: Played, *, after: int) -> tuple[list[StatusFrame], str]:
    frames: list[StatusFrame] = []
    client = EngineClient(engine.url, silence_max_s=SILENCE_S, reconnect_max_s=0.01)
    async with client:
        try:
            async for frame in client.stream(UUID(int=1), after=after):
                frames.append(frame)
        except OrderNotFound:
            return frames, "not_found"
        except StreamRefused:
            return frames, "refused"
    return frames, "ended"


@pytest.mark.parametrize(
    "path", [path for path in RECORDINGS if not is_of_many(path)], ids=lambda path: path.stem
)
def test_our_client_follows_every_recording_of_one_order(path: Path) -> None:
    start, *lines = lines_of(path)

    async def follow() -> tuple[Sequence[int], list[StatusFrame], str]:
        async with asyncio.timeout(20), played(path) as engine:
            frames, outcome = await followed(engine, after=start["after"])
            return engine.asked, frames, outcome

    asked, frames, outcome = asyncio.run(follow())

    assert asked == [line["connect"] for line in lines if "connect" in line]
    assert [(frame.seq, frame.status) for frame in frames] == [
        (line["deliver"]["seq"], line["deliver"]["status"]) for line in lines if "deliver" in line
    ]
    assert [outcome] == [line["outcome"] for line in lines if "outcome" in line]
