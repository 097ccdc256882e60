"""Every setting of the fleet: typed, with its unit in the name, read once at start.

Each deployable reads a class that lists only what it may know; a dispatcher has no database URL.
Names and defaults of the predecessor, a Node engine, are unchanged. `0` lifts a limit or a latency.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_settings import NoDecode

from order_engine.execution import setting_lists
from order_engine.execution.open_mode import is_loopback, plain_host
from order_engine.execution.setting_sources import EngineSettings
from order_engine.execution.store_urls import checked_url
from order_engine.execution.stores.session_settings import url_settings

Host = Annotated[str, AfterValidator(plain_host)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Limit = Annotated[int, Field(ge=0, le=1_000_000)]
Slots = Annotated[int, Field(ge=1, le=1_000)]


class CommonSettings(EngineSettings):
    """What every deployable has: logs and an admin port."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    admin_host: Host = "127.0.0.1"
    admin_port: Port = Field(
        default=9100, description="For /metrics, /livez and /readyz; 0 takes any free port"
    )
    drain_s: Seconds = Field(
        default=20.0, description="Time to finish work in progress after SIGTERM"
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value


class PostgresSettings(EngineSettings):
    database_url: str = Field(description="postgresql://user:password@host:5432/name")
    database_connections_max: int = Field(
        default=8, ge=1, le=200, description="Connections for reads, per process"
    )

    @field_validator("database_url", "chain_database_url", check_fields=False)
    @classmethod
    def _is_postgres(cls, value: str) -> str:
        url_settings(checked_url(value, schemes=("postgresql", "postgres")))
        return value


class RedisSettings(EngineSettings):
    redis_url: str = ""
    redis_host: str = Field("localhost", description="Used when REDIS_URL is empty")
    redis_port: Port = Field(6379, description="Used when REDIS_URL is empty")
    redis_queue_url: str = Field(
        default="", description="Redis for the queues; REDIS_URL when empty"
    )
    redis_pubsub_url: str = Field(default="", description="Redis for pub/sub; REDIS_URL when empty")

    @classmethod
    def counting(cls, values: dict[str, object]) -> dict[str, object]:
        """Kubernetes sets REDIS_PORT to a URL in a namespace that has a service `redis`."""
        overruled: set[str] = set()
        if values.get("redis_queue_url") and values.get("redis_pubsub_url"):
            overruled = {"redis_url", "redis_host", "redis_port"}
        elif values.get("redis_url"):
            overruled = {"redis_host", "redis_port"}
        return {name: value for name, value in values.items() if name not in overruled}

    @field_validator("redis_url", "redis_queue_url", "redis_pubsub_url")
    @classmethod
    def _is_redis(cls, value: str) -> str:
        return checked_url(value, schemes=("redis", "rediss", "unix"))

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

    host: Host = Field(
        default="127.0.0.1",
        description="Address to listen on; :: for all addresses, of IPv6 and IPv4",
    )
    port: Port = 3000
    auth: Literal["", "keys", "open"] = Field(
        default="",
        description="keys: every call needs an API key; open: no call does, and all act as the account"
        " `local`; empty: open when HOST is a loopback address, else keys",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Proxies that may set X-Forwarded-For: addresses or networks, separated by commas"
        " or blanks; * for any",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins from which browsers may call, separated by commas or blanks; * for any",
    )
    http_keep_alive_s: int = Field(
        default=75,
        ge=1,
        le=86_400,
        description="How long a connection without a request stays open; longer than a load balancer"
        " in front keeps it, or requests are lost",
    )

    @property
    def is_open(self) -> bool:
        """Whether every client may do everything, as the account `local`."""
        return self.auth == "open" or (self.auth == "" and is_loopback(self.host))

    @property
    def is_for_this_machine(self) -> bool:
        """Open because only this machine can connect. A Host header with another name then comes from
        a page that uses DNS rebinding.
        """
        return self.auth == "" and is_loopback(self.host)

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _are_proxies(cls, value: object) -> object:
        return setting_lists.proxies(value) if isinstance(value, str) else value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _are_origins(cls, value: object) -> object:
        return setting_lists.origins(value) if isinstance(value, str) else value


class ChainSettings(PostgresSettings):
    """The simulated chain and its two venues."""

    chain_database_url: str = Field(
        default="", description="Database of the simulated chain; DATABASE_URL when empty"
    )

    @property
    def ledger_url(self) -> str:
        return self.chain_database_url or self.database_url


class VenueSettings(ChainSettings):
    venue_quote_latency_s: Seconds = Field(0.2, description="Time to a quote")
    venue_quote_jitter_s: Seconds = Field(0.05, description="Up to this much is added to it")
    venue_execution_min_s: Seconds = Field(2.0, description="Shortest time to land")
    venue_execution_max_s: Seconds = Field(3.0, description="Longest time to land")
    venue_validity_s: PositiveSeconds = Field(
        default=30.0, description="How long a signed transaction may land"
    )
    venue_poll_s: Seconds = Field(
        default=0.1, description="Pause between two requests for an outcome"
    )
    venue_seed: int | None = Field(
        default=None, description="Seed that makes the simulation repeatable"
    )
    venue_volatility: Share = Field(
        default=0.0,
        description="How far prices move, as a share: 0.02 is 2 % up and down; 0 is no move",
    )
    venue_price_board: bool = Field(
        default=False, description="Quote the prices that `order-engine market set` has posted"
    )
    venue_price_drift_max: Share = Field(
        default=0.001, description="Largest loss of price from quote to landing, as a share"
    )
    venue_call_failure_share: Share = Field(0.0, description="Calls that fail")
    venue_lost_reply_share: Share = Field(0.0, description="Replies that are lost")
    venue_never_lands_share: Share = Field(0.0, description="Transactions that never land")
    venue_rejection_share: Share = Field(0.0, description="Transactions that are rejected")
    quote_timeout_s: PositiveSeconds = Field(2.0, description="Longest wait for one quote")
    quote_lifetime_s: PositiveSeconds = Field(30.0, description="Age at which a quote expires")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.venue_execution_max_s < self.venue_execution_min_s:
            raise ValueError("VENUE_EXECUTION_MAX_S must not be below VENUE_EXECUTION_MIN_S")
        return self


class GatewaySettings(CommonSettings, PostgresSettings, RedisSettings, PublicServerSettings):
    orders_waiting_max: int = Field(
        default=100_000,
        ge=0,
        le=10_000_000,
        description="Waiting orders above which placing one is refused with 503; 0 lifts it",
    )
    body_bytes_max: int = Field(16_384, ge=256, le=1_048_576, description="Largest request body")
    http_rate_limit_per_key: Limit = Field(
        default=60_000, description="Requests per minute, key and gateway process; 0 lifts it"
    )
    http_rate_limit_per_address: Limit = Field(
        default=60_000,
        description="Requests per minute, address and gateway process; 0 lifts it",
    )


class OrderWorkerSettings(CommonSettings, VenueSettings, RedisSettings):
    queue_max_concurrency: Slots = Field(10, description="Orders executed at the same time")
    queue_rate_limit_per_minute: Limit = Field(
        default=100,
        description="Starts in any 60 s, over all replicas (each alone while Redis is away); 0 lifts"
        " it. Set it the same on every replica: starts of a replica with 0 are not counted",
    )
    order_attempts_max: int = Field(3, ge=1, le=20, description="Attempts before an order fails")
    order_backoff_s: Seconds = Field(1.0, description="Delay before the second attempt; it doubles")
    queue_job_lease_s: int = Field(
        default=20,
        ge=1,
        le=3600,
        description="How long a started job is protected after its worker stops renewing",
    )
    order_lease_s: PositiveSeconds = Field(
        default=10.0, description="How long an order is leased to a worker that stops renewing"
    )
    order_lease_renew_s: PositiveSeconds = Field(
        default=3.0, description="Pause between two renewals; below half of ORDER_LEASE_S"
    )

    @model_validator(mode="after")
    def _is_renewed_in_time(self) -> Self:
        if self.order_lease_renew_s >= self.order_lease_s / 2:
            raise ValueError(
                "ORDER_LEASE_RENEW_S must be below half of ORDER_LEASE_S, so that one renewal may fail"
            )
        return self


class StatusDispatcherSettings(CommonSettings, RedisSettings):
    ws_worker_concurrency: Slots = Field(50, description="Events published at the same time")
    ws_worker_rate_limit: Limit = Field(
        default=1000, description="Events published per minute and process; 0 lifts it"
    )


class WsGatewaySettings(CommonSettings, PostgresSettings, RedisSettings, PublicServerSettings):
    ws_position_check_s: PositiveSeconds = Field(
        2.0, description="Pause between two checks for lost events"
    )
    ws_ping_s: PositiveSeconds = Field(20.0, description="Pause between two pings")
    ws_connections_max: int = Field(
        default=20_000, ge=1, le=1_000_000, description="Sockets per process"
    )
    ws_connections_per_key: int = Field(5_000, ge=1, le=1_000_000, description="Sockets per key")
    ws_connections_per_address: int = Field(
        5_000, ge=1, le=1_000_000, description="Sockets per client address"
    )
    ws_subscriptions_max: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="Orders that one socket may follow at the same time",
    )


class MigrateSettings(CommonSettings, ChainSettings):
    pass
