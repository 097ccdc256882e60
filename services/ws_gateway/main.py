"""Holds the clients' sockets."""

import structlog

from execution.admin import admin_port
from execution.logs import configure_logs
from execution.serving import run, serving, stop_signal
from execution.settings import WsGatewaySettings, read_settings
from ws_gateway.api import NAME, ws_gateway_app

log = structlog.get_logger()


async def serve(settings: WsGatewaySettings) -> None:
    stop = stop_signal()
    app = ws_gateway_app(settings)
    async with (
        serving(app, host=settings.host, port=settings.port, lifespan=True),
        admin_port(settings, {"postgres": app.state.orders.answers}),
    ):
        log.info("started", host=settings.host, port=settings.port)
        await stop.wait()
        log.info("stopping")


def main() -> None:
    settings = read_settings(WsGatewaySettings)
    configure_logs(level=settings.log_level, deployable=NAME)
    run(serve(settings))
