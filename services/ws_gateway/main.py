"""Holds the clients' sockets."""

import structlog

from execution.admin import admin_port
from execution.logs import configure_logs
from execution.serving import run, serving_door, stop_signal
from execution.settings import WsGatewaySettings, read_settings
from ws_gateway.api import NAME, ws_gateway_app

DRAIN_SHARE = 0.8  # of the time after SIGTERM; the rest is for closing what is left

log = structlog.get_logger()


async def serve(settings: WsGatewaySettings) -> None:
    stop = stop_signal()
    app = ws_gateway_app(settings)
    register = app.state.register
    async with (
        serving_door(app, settings),
        admin_port(settings, {"postgres": app.state.orders.answers, "accepting": register.accepts}),
    ):
        log.info("started", host=settings.host, port=settings.port)
        if settings.is_open:
            log.warning("open to whoever can connect: AUTH=keys asks for API keys")
        await stop.wait()
        log.info("stopping")
        await register.drain(over_s=settings.drain_s * DRAIN_SHARE)


def main() -> None:
    settings = read_settings(WsGatewaySettings)
    configure_logs(level=settings.log_level, deployable=NAME)
    run(serve(settings))
