"""Every setting of the fleet, typed, with its unit in the name; read once, at start.

Each deployable reads the class that lists what it may know: a dispatcher has no database URL. Names
and defaults that the Node engine had are kept as they were; `0` lifts a limit or a latency.
"""

import re
from ipaddress import ip_address
from typing import Annotated, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]  # of time, never none
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Limit = Annotated[int, Field(ge=0, le=1_000_000)]
HOST = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^:\[\]]*)(:(?P<port>[0-9]{0,5}))?")
ENCODED = re.compile(r"([^@%\s]|%[0-9a-fA-F]{2})*")
Slots = Annotated[int, Field(ge=1, le=1_000)]


class EngineSettings(BaseSettings):
    """Read from the environment, then from `.env`; an empty variable is one that is not set."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )


class CommonSettings(EngineSettings):
    """What every deployable has: logs, and an admin port of its own."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    admin_host: str = "127.0.0.1"
    admin_port: Port = Field(
        default=9100, description="/metrics, /livez and /readyz; 0: any free one"
    )
    drain_s: Seconds = Field(
        default=20.0, description="After SIGTERM, time to finish what is in hand"
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value


class PostgresSettings(EngineSettings):
    database_url: str = Field(description="postgresql://user:password@host:5432/name")
    database_connections_max: int = Field(
        default=8, ge=1, le=200, description="For reads, a process"
    )

    @field_validator("database_url", "chain_database_url", check_fields=False)
    @classmethod
    def _is_postgres(cls, value: str) -> str:
        return _address(value, schemes=("postgresql", "postgres"))


class RedisSettings(EngineSettings):
    redis_url: str = ""
    redis_host: str = "localhost"
    redis_port: Port = 6379
    redis_queue_url: str = Field(default="", description="Queues; REDIS_URL when empty")
    redis_pubsub_url: str = Field(default="", description="Pub/sub; REDIS_URL when empty")

    @field_validator("redis_url", "redis_queue_url", "redis_pubsub_url")
    @classmethod
    def _is_redis(cls, value: str) -> str:
        return _address(value, schemes=("redis", "rediss", "unix"))

    @property
    def queue_url(self) -> str:
        return self.redis_queue_url or self._url

    @property
    def pubsub_url(self) -> str:
        return self.redis_pubsub_url or self._url

    @property
    def _url(self) -> str:
        return self.redis_url or f"redis://{self.redis_host}:{self.redis_port}/0"


class PublicServerSettings(EngineSettings):
    """The public port of the gateway and of the ws-gateway."""

    host: str = "127.0.0.1"
    port: Port = 3000
    auth: Literal["", "keys", "open"] = Field(
        default="",
        description="keys: every call shows an API key; open: nobody does, all are the account"
        " `local`; when empty: open on a loopback HOST, else keys",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Addresses or networks, separated by commas, whose X-Forwarded-For is believed;"
        " * for any",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins that browsers may call from, separated by commas; * for any",
    )

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything, as the account `local`."""
        return self.auth == "open" or (self.auth == "" and _is_loopback(self.host))

    @property
    def is_for_this_machine(self) -> bool:
        """Open because nobody else can connect: then a name that is not this machine's was given
        to a page by somebody who rebinds DNS.
        """
        return self.auth == "" and _is_loopback(self.host)

    @field_validator("cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value


class ChainSettings(PostgresSettings):
    """The simulated chain and its two venues."""

    chain_database_url: str = Field(
        default="", description="The ledger's own database; DATABASE_URL when empty"
    )

    @property
    def ledger_url(self) -> str:
        return self.chain_database_url or self.database_url


class VenueSettings(ChainSettings):
    venue_quote_latency_s: Seconds = 0.2
    venue_quote_jitter_s: Seconds = 0.05
    venue_execution_min_s: Seconds = 2.0
    venue_execution_max_s: Seconds = 3.0
    venue_validity_s: PositiveSeconds = Field(
        default=30.0, description="A signed transaction may land so long"
    )
    venue_poll_s: Seconds = Field(default=0.1, description="Between two questions for an outcome")
    venue_seed: int | None = Field(default=None, description="Makes the simulated luck repeatable")
    venue_price_drift_max: Share = Field(default=0.001, description="From quote to landing")
    venue_call_failure_share: Share = 0.0
    venue_lost_reply_share: Share = 0.0
    venue_never_lands_share: Share = 0.0
    venue_rejection_share: Share = 0.0
    quote_timeout_s: PositiveSeconds = 2.0
    quote_lifetime_s: PositiveSeconds = 30.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.venue_execution_max_s < self.venue_execution_min_s:
            raise ValueError("VENUE_EXECUTION_MAX_S is below VENUE_EXECUTION_MIN_S")
        return self


class GatewaySettings(CommonSettings, PostgresSettings, RedisSettings, PublicServerSettings):
    orders_waiting_max: int = Field(
        default=100_000,
        ge=0,
        le=10_000_000,
        description="Beyond so many waiting orders a POST gets 503; 0 lifts it",
    )
    body_bytes_max: int = Field(default=16_384, ge=256, le=1_048_576)
    http_rate_limit_per_key: Limit = Field(
        default=60_000, description="Requests in a minute, a key and gateway process; 0 lifts it"
    )
    http_rate_limit_per_address: Limit = Field(
        default=60_000,
        description="Requests in a minute, an address and gateway process; 0 lifts it",
    )


class OrderWorkerSettings(CommonSettings, VenueSettings, RedisSettings):
    queue_max_concurrency: Slots = 10
    queue_rate_limit_per_minute: Limit = Field(
        default=100,
        description="Starts in any 60 s, over all replicas together; 0 lifts it. The same for every"
        " replica: what one with 0 starts, the others do not count",
    )
    order_attempts_max: int = Field(default=3, ge=1, le=20)
    order_backoff_s: Seconds = 1.0


class StatusDispatcherSettings(CommonSettings, RedisSettings):
    ws_worker_concurrency: Slots = 50
    ws_worker_rate_limit: Limit = Field(
        default=1000, description="A minute and process; 0 lifts it"
    )


class WsGatewaySettings(CommonSettings, PostgresSettings, RedisSettings, PublicServerSettings):
    ws_position_check_s: PositiveSeconds = 2.0
    ws_ping_s: PositiveSeconds = 20.0
    ws_connections_max: int = Field(
        default=20_000, ge=1, le=1_000_000, description="Sockets, a process"
    )
    ws_connections_per_key: int = Field(default=5_000, ge=1, le=1_000_000)
    ws_connections_per_address: int = Field(default=5_000, ge=1, le=1_000_000)
    ws_subscriptions_max: int = Field(
        default=1_000, ge=1, le=100_000, description="Orders followed at once by one socket"
    )


class MigrateSettings(CommonSettings, ChainSettings):
    pass


def _address(url: str, *, schemes: tuple[str, ...]) -> str:
    """The URL where it can be one; what is said of a wrong one never holds its password."""
    if not url:
        return url
    try:
        parts = urlsplit(url)
        credentials, _, hosts = parts.netloc.rpartition("@")
        is_address = (
            parts.scheme in schemes
            and all(map(_is_host, hosts.split(",")))  # several: a primary to be found
            # else drivers take a part of the password for a host's name, and say so
            and ENCODED.fullmatch(credentials) is not None
            and "@" not in parts.path
        )
    except ValueError:
        is_address = False
    if not is_address:
        raise ValueError(
            f"must be an address that begins with {schemes[0]}://, its password percent-encoded"
        )
    return url


def _is_host(host: str) -> bool:
    found = HOST.fullmatch(host)
    return found is not None and int(found["port"] or 0) <= 65535


def _is_loopback(host: str) -> bool:
    """Whether only this machine can connect to what listens at `host`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


Read = TypeVar("Read", bound=EngineSettings)


def read_settings(kind: type[Read]) -> Read:
    """The settings from environment and `.env`; ends the process with one line on a wrong one."""
    try:
        return kind()
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']).upper() or 'settings'}: {_said(fault['msg'])}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise SystemExit(f"cannot start: {wrong}") from None


def _said(message: str) -> str:
    return message.removeprefix("Value error, ")
