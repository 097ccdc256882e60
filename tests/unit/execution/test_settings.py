from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from order_engine.execution.setting_sources import EngineSettings, read_settings
from order_engine.execution.settings import (
    GatewaySettings,
    MigrateSettings,
    OrderWorkerSettings,
    StatusDispatcherSettings,
    WsGatewaySettings,
)

Kind = type[EngineSettings]

EVERY_KIND: list[Kind] = [
    GatewaySettings,
    OrderWorkerSettings,
    StatusDispatcherSettings,
    WsGatewaySettings,
    MigrateSettings,
]
DATABASE_URL = "postgresql://engine:s3cret@db:5432/orders"
SECRET = "s3cret"  # noqa: S105 - made up


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hides the variables of the machine and the .env of the project."""
    for kind in EVERY_KIND:
        for name in kind.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DATABASE_URL", DATABASE_URL)
    monkeypatch.chdir(tmp_path)


def refusal(kind: Kind) -> str:
    with pytest.raises(SystemExit) as end:
        read_settings(kind)
    return str(end.value)


@pytest.mark.parametrize(
    ("kind", "name", "default"),
    [
        (OrderWorkerSettings, "queue_max_concurrency", 10),
        (OrderWorkerSettings, "queue_rate_limit_per_minute", 100),
        (OrderWorkerSettings, "order_attempts_max", 3),
        (OrderWorkerSettings, "order_lease_s", 10.0),
        (OrderWorkerSettings, "order_lease_renew_s", 3.0),
        (OrderWorkerSettings, "queue_job_lease_s", 20),
        (OrderWorkerSettings, "venue_quote_latency_s", 0.2),
        (OrderWorkerSettings, "venue_quote_jitter_s", 0.05),
        (OrderWorkerSettings, "venue_execution_min_s", 2.0),
        (OrderWorkerSettings, "venue_execution_max_s", 3.0),
        (OrderWorkerSettings, "venue_validity_s", 30.0),
        (StatusDispatcherSettings, "ws_worker_concurrency", 50),
        (StatusDispatcherSettings, "ws_worker_rate_limit", 1000),
        (GatewaySettings, "port", 3000),
        (GatewaySettings, "body_bytes_max", 16 * 1024),
        (GatewaySettings, "cors_origins", ()),
        (WsGatewaySettings, "port", 3000),
        (WsGatewaySettings, "ws_position_check_s", 2.0),
        (WsGatewaySettings, "ws_ping_s", 20.0),
    ],
)
def test_the_defaults_are_those_of_the_predecessor(kind: Kind, name: str, default: Any) -> None:
    assert getattr(read_settings(kind), name) == default


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_the_default_log_level_is_info(kind: Kind) -> None:
    assert getattr(read_settings(kind), "log_level") == "INFO"  # noqa: B009 - of every kind


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_settings_do_not_change_once_read(kind: Kind) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(read_settings(kind), "log_level", "DEBUG")  # noqa: B010 - of every kind


# Redis


@pytest.mark.parametrize(
    ("variables", "queue_url", "pubsub_url"),
    [
        ({}, "redis://localhost:6379/0", "redis://localhost:6379/0"),
        ({"REDIS_HOST": "cache"}, "redis://cache:6379/0", "redis://cache:6379/0"),
        ({"REDIS_PORT": "6400"}, "redis://localhost:6400/0", "redis://localhost:6400/0"),
        (
            {"REDIS_HOST": "cache", "REDIS_PORT": "6400"},
            "redis://cache:6400/0",
            "redis://cache:6400/0",
        ),
        (
            {"REDIS_URL": "redis://one/1", "REDIS_HOST": "cache", "REDIS_PORT": "6400"},
            "redis://one/1",
            "redis://one/1",
        ),
        (
            {"REDIS_URL": "redis://one/1", "REDIS_QUEUE_URL": "rediss://two/2"},
            "rediss://two/2",
            "redis://one/1",
        ),
        (
            {"REDIS_URL": "redis://one/1", "REDIS_PUBSUB_URL": "unix:///run/redis.sock"},
            "redis://one/1",
            "unix:///run/redis.sock",
        ),
        (
            {"REDIS_HOST": "cache", "REDIS_PUBSUB_URL": "redis://two/2"},
            "redis://cache:6379/0",
            "redis://two/2",
        ),
    ],
)
def test_the_most_specific_redis_variable_wins(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], queue_url: str, pubsub_url: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = read_settings(StatusDispatcherSettings)

    assert (settings.queue_url, settings.pubsub_url) == (queue_url, pubsub_url)


# PostgreSQL


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_both_schemes_of_postgresql_are_accepted(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://db/orders")

    assert read_settings(GatewaySettings).database_url == f"{scheme}://db/orders"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db",
        "postgresql:///orders?host=/run/postgresql",
        "postgresql://engine:p%40ss@[::1]:5432/orders?sslmode=require",
        "postgresql://one:5432,two:5432/orders?target_session_attrs=read-write",
    ],
)
def test_every_url_of_libpq_is_accepted(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)

    assert read_settings(GatewaySettings).database_url == url


def test_the_chain_uses_the_database_of_the_engine_by_default() -> None:
    assert read_settings(OrderWorkerSettings).ledger_url == DATABASE_URL


def test_the_chain_can_have_its_own_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAIN_DATABASE_URL", "postgresql://chain/ledger")

    assert read_settings(OrderWorkerSettings).ledger_url == "postgresql://chain/ledger"


def test_a_dispatcher_needs_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")

    assert not hasattr(read_settings(StatusDispatcherSettings), "database_url")


@pytest.mark.parametrize(
    "kind", [GatewaySettings, OrderWorkerSettings, WsGatewaySettings, MigrateSettings]
)
def test_every_other_deployable_needs_a_database_url(
    monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    monkeypatch.delenv("DATABASE_URL")

    assert refusal(kind) == "cannot start: DATABASE_URL: Field required"


# Zero


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (OrderWorkerSettings, "queue_rate_limit_per_minute"),
        (StatusDispatcherSettings, "ws_worker_rate_limit"),
        (OrderWorkerSettings, "venue_quote_latency_s"),
        (OrderWorkerSettings, "venue_quote_jitter_s"),
        (OrderWorkerSettings, "venue_execution_min_s"),
        (OrderWorkerSettings, "order_backoff_s"),
        (GatewaySettings, "port"),
        (GatewaySettings, "admin_port"),
    ],
)
def test_zero_lifts_a_limit_or_a_latency(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, name: str
) -> None:
    monkeypatch.setenv(name.upper(), "0")

    assert getattr(read_settings(kind), name) == 0


def test_an_execution_may_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENUE_EXECUTION_MIN_S", "0")
    monkeypatch.setenv("VENUE_EXECUTION_MAX_S", "0")

    assert read_settings(OrderWorkerSettings).venue_execution_max_s == 0


def test_a_lease_must_outlast_a_renewal_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDER_LEASE_S", "4")

    assert refusal(OrderWorkerSettings).endswith(
        "ORDER_LEASE_RENEW_S must be below half of ORDER_LEASE_S, so that one renewal may fail"
    )


# Reading


@pytest.mark.parametrize("level", ["debug", "Info", "WARNING", "error"])
def test_a_log_level_is_accepted_in_any_case(monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setenv("LOG_LEVEL", level)

    assert read_settings(GatewaySettings).log_level == level.upper()


@pytest.mark.parametrize(
    ("written", "origins"),
    [
        ("*", ("*",)),
        ("https://a.example", ("https://a.example",)),
        ("https://a.example, https://b.example,", ("https://a.example", "https://b.example")),
    ],
)
def test_origins_are_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, written: str, origins: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CORS_ORIGINS", written)

    assert read_settings(GatewaySettings).cors_origins == origins


def test_unknown_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTS", "many")

    assert read_settings(GatewaySettings).port == 3000


def test_a_dot_env_file_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=4000\nANOTHER_TOOLS=own\n")

    assert read_settings(GatewaySettings).port == 4000


def test_the_environment_overrides_the_dot_env_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PORT=4000\n")
    monkeypatch.setenv("PORT", "5000")

    assert read_settings(GatewaySettings).port == 5000


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")

    assert read_settings(GatewaySettings).port == 3000


def test_an_empty_database_url_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")

    assert refusal(GatewaySettings) == "cannot start: DATABASE_URL: Field required"


# Wrong values

WRONG: list[tuple[Kind, str, str]] = [
    (GatewaySettings, "PORT", "abc"),
    (GatewaySettings, "PORT", "70000"),
    (GatewaySettings, "PORT", "-1"),
    (GatewaySettings, "PORT", "30.5"),
    (GatewaySettings, "PORT", "3000\n3001"),
    (GatewaySettings, "ADMIN_PORT", "65536"),
    (GatewaySettings, "BODY_BYTES_MAX", "0"),
    (GatewaySettings, "DATABASE_CONNECTIONS_MAX", "0"),
    (GatewaySettings, "DATABASE_URL", "mysql://db/orders"),
    (GatewaySettings, "DATABASE_URL", "db/orders"),
    (GatewaySettings, "DATABASE_URL", "postgresql://[db/orders"),
    (GatewaySettings, "REDIS_URL", "http://cache"),
    (GatewaySettings, "REDIS_URL", "localhost:6379"),
    (GatewaySettings, "LOG_LEVEL", "loud"),
    (GatewaySettings, "LOG_LEVEL", "INFO\nDEBUG"),
    (GatewaySettings, "DRAIN_S", "-1"),
    (WsGatewaySettings, "WS_POSITION_CHECK_S", "-0.1"),
    (StatusDispatcherSettings, "REDIS_PORT", "abc"),
    (StatusDispatcherSettings, "REDIS_QUEUE_URL", "amqp://cache"),
    (StatusDispatcherSettings, "REDIS_PUBSUB_URL", "amqp://cache"),
    (StatusDispatcherSettings, "WS_WORKER_CONCURRENCY", "0"),
    (StatusDispatcherSettings, "WS_WORKER_RATE_LIMIT", "-1"),
    (OrderWorkerSettings, "QUEUE_MAX_CONCURRENCY", "0"),
    (OrderWorkerSettings, "QUEUE_MAX_CONCURRENCY", "ten"),
    (OrderWorkerSettings, "QUEUE_MAX_CONCURRENCY", "1001"),
    (OrderWorkerSettings, "QUEUE_RATE_LIMIT_PER_MINUTE", "-1"),
    (OrderWorkerSettings, "QUEUE_RATE_LIMIT_PER_MINUTE", "unlimited"),
    (OrderWorkerSettings, "ORDER_ATTEMPTS_MAX", "0"),
    (OrderWorkerSettings, "ORDER_BACKOFF_S", "-1"),
    (OrderWorkerSettings, "ORDER_LEASE_S", "0"),
    (OrderWorkerSettings, "ORDER_LEASE_RENEW_S", "0"),
    (OrderWorkerSettings, "ORDER_LEASE_RENEW_S", "5"),  # not below half of the lease
    (OrderWorkerSettings, "QUEUE_JOB_LEASE_S", "0"),
    (OrderWorkerSettings, "QUEUE_JOB_LEASE_S", "0.5"),
    (OrderWorkerSettings, "CHAIN_DATABASE_URL", "sqlite:///ledger"),
    (OrderWorkerSettings, "VENUE_QUOTE_LATENCY_S", "-0.1"),
    (OrderWorkerSettings, "QUOTE_TIMEOUT_S", "0"),
    (OrderWorkerSettings, "QUOTE_LIFETIME_S", "0"),
    (OrderWorkerSettings, "VENUE_VALIDITY_S", "0"),
    (WsGatewaySettings, "WS_PING_S", "0"),
    (WsGatewaySettings, "WS_POSITION_CHECK_S", "0"),
    (OrderWorkerSettings, "VENUE_QUOTE_LATENCY_S", "nan"),
    (OrderWorkerSettings, "VENUE_QUOTE_JITTER_S", "inf"),
    (OrderWorkerSettings, "VENUE_EXECUTION_MIN_S", "-2"),
    (OrderWorkerSettings, "VENUE_EXECUTION_MAX_S", "1.9"),  # below its MIN of 2
    (OrderWorkerSettings, "VENUE_EXECUTION_MIN_S", "3.1"),  # above its MAX of 3
    (OrderWorkerSettings, "VENUE_NEVER_LANDS_SHARE", "1.1"),
    (OrderWorkerSettings, "VENUE_PRICE_DRIFT_MAX", "nan"),
    (OrderWorkerSettings, "VENUE_SEED", "lucky"),
    (MigrateSettings, "DATABASE_URL", "mysql://db/orders"),
    (GatewaySettings, "DATABASE_URL", "postgresql://db:port/orders"),
    (GatewaySettings, "DATABASE_URL", "postgresql://db:70000/orders"),
    (GatewaySettings, "REDIS_URL", "redis://cache:port/0"),
    (GatewaySettings, "REDIS_URL", "redis://cache:70000/0"),
]


@pytest.mark.parametrize(("kind", "name", "value"), WRONG)
def test_a_wrong_value_ends_the_process_with_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    message = refusal(kind)

    assert message.startswith("cannot start: ")
    assert name in message
    assert len(message.splitlines()) == 1


def test_all_wrong_values_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "abc")
    monkeypatch.setenv("LOG_LEVEL", "loud")
    message = refusal(GatewaySettings)

    assert "PORT: " in message
    assert "LOG_LEVEL: " in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", f"mysql://engine:{SECRET}@db/orders"),
        ("DATABASE_URL", f"engine:{SECRET}@db/orders"),
        ("DATABASE_URL", f"postgresql://engine:{SECRET}@[db/orders"),
        ("CHAIN_DATABASE_URL", f"mysql://engine:{SECRET}@db/orders"),
        # not percent-encoded: libpq would take the rest of it for a host name and report it
        ("DATABASE_URL", f"postgresql://engine:p@{SECRET}@db/orders"),
        ("DATABASE_URL", f"postgresql://engine:1/{SECRET}@db/orders"),
        ("DATABASE_URL", f"postgresql://engine:%zz{SECRET}@db/orders"),
        ("REDIS_URL", f"redis://engine:p@{SECRET}@cache"),
        ("REDIS_URL", f"http://:{SECRET}@cache"),
        ("VENUE_EXECUTION_MAX_S", "1"),
        ("DATABASE_URL", f"postgresql://engine:{SECRET}℀@db/orders"),
        ("REDIS_URL", f"redis://:{SECRET}℀@cache"),
    ],
)
def test_no_error_contains_a_password(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    assert SECRET not in refusal(OrderWorkerSettings)
