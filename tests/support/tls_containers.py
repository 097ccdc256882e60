"""PostgreSQL and Redis that require TLS and a client certificate."""

from collections.abc import Iterator
from contextlib import contextmanager

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from support.certificates import Authority, Certificate
from support.recording_proxy import Address

START_TIMEOUT_S = 60
HBA = b"""
local all all trust
hostssl all all all scram-sha-256 clientcert=verify-full
"""
# PostgreSQL refuses a key that other accounts can read
POSTGRES = (
    "install -d -o postgres /run/tls && install -o postgres -m 600 /tls/* /run/tls/ &&"
    " exec docker-entrypoint.sh postgres -c fsync=off -c hba_file=/run/tls/pg_hba.conf -c ssl=on"
    " -c ssl_ca_file=/run/tls/ca.pem -c ssl_cert_file=/run/tls/server.pem"
    " -c ssl_key_file=/run/tls/server.key"
)
REDIS = (
    "redis-server --port 0 --tls-port 6379 --tls-auth-clients yes --tls-ca-cert-file /tls/ca.pem"
    " --tls-cert-file /tls/server.pem --tls-key-file /tls/server.key --user default off"
)


@contextmanager
def tls_postgres(authority: Authority, shown: Certificate, *, password: str) -> Iterator[Address]:
    """The address. The user `postgres` has this password, and needs a certificate too."""
    container = (
        _container("postgres:17", 5432, authority, shown)
        .with_env("POSTGRES_PASSWORD", password)
        .with_copy_into_container(HBA, "/tls/pg_hba.conf")
        .with_command(["bash", "-c", POSTGRES])
        .waiting_for(
            # the first line is from the server that initialises the database
            LogMessageWaitStrategy("ready to accept connections", times=2).with_startup_timeout(
                START_TIMEOUT_S
            )
        )
    )
    with container:
        yield _address(container, 5432)


@contextmanager
def tls_redis(
    authority: Authority, shown: Certificate, *, user: str, password: str
) -> Iterator[Address]:
    container = (
        _container("redis:8", 6379, authority, shown)
        .with_command([*REDIS.split(), "--user", user, "on", f">{password}", "~*", "&*", "+@all"])
        .waiting_for(
            LogMessageWaitStrategy("Ready to accept connections").with_startup_timeout(
                START_TIMEOUT_S
            )
        )
    )
    with container:
        yield _address(container, 6379)


def _container(image: str, port: int, authority: Authority, shown: Certificate) -> DockerContainer:
    container = DockerContainer(image).with_exposed_ports(port)
    files = {"ca.pem": authority.file, "server.pem": shown.chain, "server.key": shown.key}
    for name, file in files.items():
        container.with_copy_into_container(file.read_bytes(), f"/tls/{name}")
    return container


def _address(container: DockerContainer, port: int) -> Address:
    return container.get_container_host_ip(), int(container.get_exposed_port(port))
