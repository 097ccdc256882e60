"""docker/nginx.conf in front of gateways that run in the test's own process."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testcontainers.core.container import DockerContainer

from support.ports import free_port
from support.waiting import wait_until

CONF = Path(__file__).parents[2] / "docker/nginx.conf"
START_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Addresses, as `host:port`."""

    api: str
    streams: str


@contextmanager
def nginx(*, gateway: str, ws_gateway: str) -> Iterator[str]:
    """The address of an nginx that sends requests and streams to these addresses."""
    address = f"127.0.0.1:{free_port()}"
    conf = CONF.read_text()
    for written, meant in (
        ("listen 8080;", f"listen {address};"),
        ("$gateway gateway:3000;", f"$gateway {gateway};"),
        ("$ws_gateway ws-gateway:3000;", f"$ws_gateway {ws_gateway};"),
    ):
        assert written in conf
        conf = conf.replace(written, meant)
    container = (
        DockerContainer("nginx:stable")
        .with_kwargs(network_mode="host")
        .with_copy_into_container(conf.encode(), "/etc/nginx/nginx.conf")
    )
    with container:
        wait_until(lambda: _answers(address), timeout_s=START_TIMEOUT_S, what="nginx")
        yield address


def _answers(address: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{address}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
