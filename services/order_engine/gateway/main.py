"""Runs the gateway: the HTTP API."""

import structlog

from order_engine.execution.logs import configure_logs
from order_engine.execution.setting_sources import read_settings
from order_engine.execution.settings import GatewaySettings
from order_engine.gateway.app import NAME, gateway_app
from order_engine.serving.admin import admin_port
from order_engine.serving.process import run, stop_signal
from order_engine.serving.server import serving_public

log = structlog.get_logger()


async def serve(settings: GatewaySettings) -> None:
    stop = stop_signal()
    app = gateway_app(settings)
    async with (
        app.router.lifespan_context(app),
        serving_public(
            app,
            host=settings.host,
            port=settings.port,
            trusted_proxies=settings.trusted_proxies,
            keep_alive_s=settings.http_keep_alive_s,
            websockets=False,
        ),
        admin_port(
            {"postgres": app.state.services.orders.answers},
            host=settings.admin_host,
            port=settings.admin_port,
        ),
    ):
        log.info("started", host=settings.host, port=settings.port)
        if settings.is_open:
            log.warning("authentication is off: anyone who can connect may trade (set AUTH=keys)")
        await stop.wait()
        log.info("stopping")


def main() -> None:
    settings = read_settings(GatewaySettings)
    configure_logs(level=settings.log_level, deployable=NAME)
    run(serve(settings))
