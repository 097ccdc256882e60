from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

PASSWORD = "for-tests-only"  # noqa: S105


@contextmanager
def postgres_container(options: Mapping[str, str]) -> Iterator[str]:
    """The URL of the database `postgres` of a server with these options, kept while it is open."""
    container = (
        DockerContainer("postgres:17")
        .with_env("POSTGRES_PASSWORD", PASSWORD)
        .with_exposed_ports(5432)
        .with_command(["postgres", *(f"--{name}={value}" for name, value in options.items())])
        .waiting_for(LogMessageWaitStrategy("ready for start up", times=1).with_startup_timeout(60))
    )
    with container:
        url = f"postgresql://postgres:{PASSWORD}@{_address(container, 5432)}/postgres"
        _wait_for_postgres(url)
        yield url


@contextmanager
def redis_container() -> Iterator[str]:
    container = (
        DockerContainer("redis:8")
        .with_exposed_ports(6379)
        .waiting_for(LogMessageWaitStrategy("Ready to accept connections").with_startup_timeout(60))
    )
    with container:
        yield f"redis://{_address(container, 6379)}/0"


def _address(container: DockerContainer, port: int) -> str:
    return f"{container.get_container_host_ip()}:{container.get_exposed_port(port)}"


def _wait_for_postgres(url: str) -> None:
    import psycopg2

    from support.waiting import wait_until

    def answers() -> bool:
        try:
            psycopg2.connect(url, connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    wait_until(answers, timeout_s=60, what="PostgreSQL's first answer")
