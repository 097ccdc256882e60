"""Values as they arrive from Secrets, editors, service links and other people's files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from order_engine.execution.setting_sources import EngineSettings, read_settings
from order_engine.execution.settings import (
    GatewaySettings,
    OrderWorkerSettings,
    StatusDispatcherSettings,
)

URL = "postgresql://engine:secret@db/orders"
SERVICE_LINK = "tcp://10.0.0.1:6379"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", URL)


def refusal(kind: type[EngineSettings] = GatewaySettings) -> str:
    with pytest.raises(SystemExit) as ended:
        read_settings(kind)
    message = str(ended.value)
    assert len(message.splitlines()) == 1
    assert "secret" not in message
    return message


BLANKS = ["{}\n", "{}\r\n", "  {}", "\t{} ", "\ufeff{}", "{}\xa0"]


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", URL),
        ("REDIS_URL", "rediss://:secret@cache:6380/0"),
        ("HOST", "127.0.0.1"),
        ("ADMIN_HOST", "::1"),
        ("PORT", 4000),
        ("DRAIN_S", 2.5),
        ("LOG_LEVEL", "DEBUG"),
        ("AUTH", "keys"),
        ("REDIS_HOST", "cache"),
        ("REDIS_PORT", 6380),
    ],
)
def test_white_space_around_a_value_does_not_count(
    monkeypatch: pytest.MonkeyPatch, name: str, value: Any, blank: str
) -> None:
    monkeypatch.setenv(name, blank.format(value))

    assert getattr(read_settings(GatewaySettings), name.lower()) == value


def test_an_address_with_a_newline_is_still_for_this_machine_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOST", "127.0.0.1\n")

    assert read_settings(GatewaySettings).is_for_this_machine


@pytest.mark.parametrize("blank", [" ", "\n", "\t\r\n"])
def test_a_variable_of_white_space_counts_as_unset(
    monkeypatch: pytest.MonkeyPatch, blank: str
) -> None:
    monkeypatch.setenv("PORT", blank)
    monkeypatch.setenv("REDIS_URL", blank)

    assert read_settings(GatewaySettings).port == 3000
    assert read_settings(GatewaySettings).queue_url == "redis://localhost:6379/0"

    monkeypatch.setenv("DATABASE_URL", blank)

    assert "DATABASE_URL" in refusal()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://engine:secret@db/or\nders",
        "postgresql://engine:secret@db /orders",
        "postgresql://engine:se cret@db/orders",
        "postgresql://engine:secret@db/orders\tx",
        "postgresql://engine:secret\x7f@db/orders",
        f'"{URL}"',
        "postgresql://engine:secret@db/orders%0A",
        "postgresql://engine:secret@db/orders%ff",
        "postgresql://engine:secret\udcff@db/orders",
    ],
)
def test_white_space_inside_a_url_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)

    assert refusal().startswith("cannot start: DATABASE_URL: must be a URL")


FILES = {
    "utf-8": b"PORT=4000\nLOG_LEVEL=debug\n",
    "utf-8 with a mark": b"\xef\xbb\xbfPORT=4000\r\nLOG_LEVEL=debug\r\n",
    "quoted": b"PORT=\"4000\"\nexport LOG_LEVEL='debug'\n",
    "blanks": b"  PORT = 4000  \n\n# a comment\nLOG_LEVEL= debug\n",
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_a_file_of_any_editor_is_read(content: bytes) -> None:
    Path(".env").write_bytes(content)
    settings = read_settings(GatewaySettings)

    assert (settings.port, settings.log_level) == (4000, "DEBUG")


UNREADABLE = {
    "utf-16": "PORT=4000\n".encode("utf-16"),
    "utf-16 without a mark": "PORT=4000\n".encode("utf-16-le"),
    "utf-32": "PORT=4000\n".encode("utf-32"),
    "latin-1": "NAME=Zürich\nPORT=4000\n".encode("latin-1"),
    "binary": b"\x80\x81\x82",
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_in_another_encoding_is_refused(content: bytes) -> None:
    Path(".env").write_bytes(content)

    assert refusal() == "cannot start: .env cannot be read: it is not UTF-8"


def test_a_file_that_links_to_itself_is_refused() -> None:
    Path(".env").symlink_to(".env")

    assert refusal().startswith("cannot start: .env cannot be read: ")


def test_a_directory_in_place_of_the_file_is_refused() -> None:
    Path(".env").mkdir()

    assert refusal() == "cannot start: .env cannot be read: Is a directory"


OVERRULED: list[tuple[Mapping[str, str], str, str]] = [
    ({"REDIS_URL": "redis://a", "REDIS_PORT": SERVICE_LINK}, "redis://a", "redis://a"),
    ({"REDIS_URL": "redis://a", "REDIS_HOST": "?", "REDIS_PORT": "x"}, "redis://a", "redis://a"),
    (
        {"REDIS_QUEUE_URL": "redis://q", "REDIS_PUBSUB_URL": "redis://p", "REDIS_PORT": "x"},
        "redis://q",
        "redis://p",
    ),
    (
        {"REDIS_QUEUE_URL": "redis://q", "REDIS_PUBSUB_URL": "redis://p", "REDIS_URL": "http://x"},
        "redis://q",
        "redis://p",
    ),
]


@pytest.mark.parametrize(("environment", "queue", "pubsub"), OVERRULED)
@pytest.mark.parametrize("kind", [GatewaySettings, OrderWorkerSettings, StatusDispatcherSettings])
def test_what_is_overruled_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
    kind: type[EngineSettings],
    environment: Mapping[str, str],
    queue: str,
    pubsub: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings: Any = read_settings(kind)

    assert (settings.queue_url, settings.pubsub_url) == (queue, pubsub)


@pytest.mark.parametrize(
    "environment",
    [
        {"REDIS_PORT": SERVICE_LINK},
        {"REDIS_PORT": SERVICE_LINK, "REDIS_URL": " "},
        {"REDIS_PORT": SERVICE_LINK, "REDIS_QUEUE_URL": "redis://q"},
        {"REDIS_URL": "http://x", "REDIS_QUEUE_URL": "redis://q"},
    ],
)
def test_what_counts_is_read(
    monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert "REDIS_" in refusal(StatusDispatcherSettings)
