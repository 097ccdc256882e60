"""Runs the gateway and the ws-gateway in one process, for local use."""

import structlog

from order_engine.execution.logs import configure_logs
from order_engine.execution.setting_sources import read_settings
from order_engine.execution.settings import GatewaySettings, WsGatewaySettings
from order_engine.gateway.app import gateway_app
from order_engine.local.web import web_app
from order_engine.serving.admin import admin_port
from order_engine.serving.bounds import SPARE_CONNECTIONS
from order_engine.serving.process import run, stop_signal
from order_engine.serving.server import serving_public
from order_engine.ws_gateway.app import ws_gateway_app

NAME = "web"

log = structlog.get_logger()


async def serve(settings: GatewaySettings, stream_settings: WsGatewaySettings) -> None:
    stop = stop_signal()
    gateway, streams = gateway_app(settings), ws_gateway_app(stream_settings)
    checks = {
        "postgres": lambda: gateway.state.services.orders.answers(),
        "accepting": lambda: streams.state.services.registry.accepts(),
    }
    async with (
        gateway.router.lifespan_context(gateway),
        streams.router.lifespan_context(streams),
        serving_public(
            web_app(gateway, streams),
            host=stream_settings.host,
            port=stream_settings.port,
            trusted_proxies=stream_settings.trusted_proxies,
            connections_max=stream_settings.ws_connections_max + SPARE_CONNECTIONS,
            keep_alive_s=stream_settings.http_keep_alive_s,
        ),
        admin_port(checks, host=settings.admin_host, port=settings.admin_port),
    ):
        log.info("started", host=settings.host, port=settings.port)
        await stop.wait()
        log.info("stopping")
        await streams.state.services.registry.drain(
            over_s=0
        )  # there is no other ws-gateway to overload


def main() -> None:
    settings, stream_settings = read_settings(GatewaySettings), read_settings(WsGatewaySettings)
    configure_logs(level=settings.log_level, deployable=NAME)
    run(serve(settings, stream_settings))
