"""Runs the ws-gateway: the WebSocket streams."""

import structlog

from order_engine.execution.logs import configure_logs
from order_engine.execution.setting_sources import read_settings
from order_engine.execution.settings import WsGatewaySettings
from order_engine.serving.admin import admin_port
from order_engine.serving.bounds import SPARE_CONNECTIONS
from order_engine.serving.process import run, stop_signal
from order_engine.serving.server import serving_public
from order_engine.ws_gateway.app import NAME, ws_gateway_app

DRAIN_SHARE = 0.8  # of the time after SIGTERM; the rest is for closing

log = structlog.get_logger()


async def serve(settings: WsGatewaySettings) -> None:
    stop = stop_signal()
    app = ws_gateway_app(settings)
    async with (
        app.router.lifespan_context(app),
        serving_public(
            app,
            host=settings.host,
            port=settings.port,
            trusted_proxies=settings.trusted_proxies,
            connections_max=settings.ws_connections_max + SPARE_CONNECTIONS,
            keep_alive_s=settings.http_keep_alive_s,
        ),
        admin_port(
            {
                "postgres": app.state.services.orders.answers,
                "accepting": app.state.services.registry.accepts,
            },
            host=settings.admin_host,
            port=settings.admin_port,
        ),
    ):
        log.info("started", host=settings.host, port=settings.port)
        if settings.is_open:
            log.warning(
                "authentication is off: anyone who can connect may follow orders (set AUTH=keys)"
            )
        await stop.wait()
        log.info("stopping")
        await app.state.services.registry.drain(over_s=settings.drain_s * DRAIN_SHARE)


def main() -> None:
    settings = read_settings(WsGatewaySettings)
    configure_logs(level=settings.log_level, deployable=NAME)
    run(serve(settings))
