import json
import tracemalloc
import zlib
from typing import Any

import pytest

from rq_slots.job_call import CALL_BYTES_MAX, LATEST_S, TooLarge, call_in, inflated, time_in

NO_CALL: tuple[str, list[Any], dict[str, Any]] = ("", [], {})


def packed(text: str) -> bytes:
    return zlib.compress(text.encode())


def a_call_of(size: int) -> str:
    empty = json.dumps(["f", None, [""], {}])
    return json.dumps(["f", None, ["x" * (size - len(empty))], {}])


def test_a_call_has_a_name_and_arguments() -> None:
    assert call_in(packed('["f", null, ["a", 1], {"b": 2}]')) == ("f", ["a", 1], {"b": 2})


def test_a_call_that_is_not_compressed_is_read_as_rq_reads_it() -> None:
    assert call_in(b'["f", null, ["a"], {}]') == ("f", ["a"], {})


def test_a_call_of_the_largest_size_is_read() -> None:
    name, _, _ = call_in(packed(a_call_of(CALL_BYTES_MAX)))

    assert name == "f"


def test_a_larger_call_is_not_read() -> None:
    assert call_in(packed(a_call_of(CALL_BYTES_MAX + 1))) == NO_CALL


def test_a_decompression_bomb_is_not_decompressed() -> None:
    inner = zlib.compress(bytes(100_000_000), 9)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            inflated(inner)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 1_000_000


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"no zip", id="not compressed"),
        pytest.param(packed(a_call_of(90))[:20], id="cut off"),
        pytest.param(packed("["), id="no json"),
        pytest.param(packed("[" * 60_000), id="deep"),
        pytest.param(packed("[" * 30_000 + "]" * 30_000), id="deep and whole"),
        pytest.param(packed('["f", null, [' + "9" * 60_000 + "], {}]"), id="huge integer"),
        pytest.param(packed("7"), id="number"),
        pytest.param(packed('{"a": 1}'), id="object"),
        pytest.param(packed('["f", null, 7, {}]'), id="arguments are no list"),
        pytest.param(packed('["f", null, [], [[[], 1]]]'), id="a list names an argument"),
        pytest.param(zlib.compress(b'["\xff", null, [], {}]'), id="no text"),
    ],
)
def test_data_that_is_not_a_call_is_not_read(data: bytes) -> None:
    assert call_in(data) == NO_CALL


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"1700000000.5", 1_700_000_000.5),
        (b"2023-11-14T22:13:20.000000Z", 1_700_000_000.0),
        (b"0", 0.0),
        (b"253402300799", LATEST_S),
    ],
)
def test_a_time_is_a_number_or_a_timestamp(text: bytes, seconds: float) -> None:
    assert time_in(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"empty",
        b"nan",
        b"inf",
        b"-inf",
        b"1e400",
        b"-1",
        b"253402300800",
        b"\xff",
        b"0001-01-01",
    ],
)
def test_other_text_is_not_a_time(text: bytes) -> None:
    assert time_in(text) is None
