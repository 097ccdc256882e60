from order_engine.execution.settings import (
    GatewaySettings,
    MigrateSettings,
    OrderWorkerSettings,
    Share,
    StatusDispatcherSettings,
    WsGatewaySettings,
)


class LocalSettings(
    GatewaySettings,
    WsGatewaySettings,
    OrderWorkerSettings,
    StatusDispatcherSettings,
    MigrateSettings,
):
    """The settings of all deployables, so that a wrong one is reported before anything starts."""

    database_url: str = ""  # an embedded server when empty
    venue_volatility: Share = 0.02
    venue_price_board: bool = True

    @property
    def has_redis(self) -> bool:
        """True when the environment or `.env` names a Redis for both uses."""
        by_address = self.model_fields_set & {"redis_host", "redis_port"}
        by_use = self.redis_queue_url and self.redis_pubsub_url
        return bool(self.redis_url or by_address or by_use)

    @property
    def has_log_level(self) -> bool:
        return "log_level" in self.model_fields_set
