"""Takes orders in over HTTP."""

import structlog

from execution.admin import admin_port
from execution.logs import configure_logs
from execution.serving import run, serving_door, stop_signal
from execution.settings import GatewaySettings, read_settings
from gateway.api import NAME, gateway_app

log = structlog.get_logger()


async def serve(settings: GatewaySettings) -> None:
    stop = stop_signal()
    app = gateway_app(settings)
    async with (
        serving_door(app, settings),
        admin_port(settings, {"postgres": app.state.orders.answers}),
    ):
        log.info("started", host=settings.host, port=settings.port)
        if settings.is_open:
            log.warning("open to whoever can connect: AUTH=keys asks for API keys")
        await stop.wait()
        log.info("stopping")


def main() -> None:
    settings = read_settings(GatewaySettings)
    configure_logs(level=settings.log_level, deployable=NAME)
    run(serve(settings))
