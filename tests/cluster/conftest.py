import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from order_engine.execution.deployables import DEPLOYABLES
from support.cluster import (
    ClientAccess,
    CommandFailed,
    Release,
    cluster_description,
    kubectl,
    namespace,
    why_unusable,
)
from support.figures import Figures
from support.images import load_images
from support.prometheus_programs import program
from support.scraping import Prometheus, running_prometheus

FIGURES = pytest.StashKey[Figures]()
RELEASE = "engine"

# Orders take long enough to be in progress during each disturbance; their rate is not limited.
VALUES = {
    "auth": "keys",
    "gateway": {"service": {"type": "NodePort"}},
    "wsGateway": {"service": {"type": "NodePort"}},
    "orderWorker": {
        "config": {
            "QUEUE_RATE_LIMIT_PER_MINUTE": 0,
            "QUEUE_MAX_CONCURRENCY": 30,
            "VENUE_EXECUTION_MIN_S": 0.5,
            "VENUE_EXECUTION_MAX_S": 3,
        }
    },
    "monitoring": {"interval": "5s"},
}


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = Figures()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in config.stash[FIGURES].lines():
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> Figures:
    return request.config.stash[FIGURES]


@pytest.fixture(scope="session")
def release(figures: Figures, request: pytest.FixtureRequest) -> Iterator[Release]:
    """A new installation in its own namespace."""
    if reason := why_unusable():
        pytest.exit(reason, returncode=1)
    figures.fact("cluster", cluster_description())
    began = time.monotonic()
    tags = load_images()
    figures.fact("images built and loaded", f"{time.monotonic() - began:.0f} s")
    values: dict[str, dict[str, object]] = {}
    for each in DEPLOYABLES:
        image = {"image": {"tag": tags[each.name]}}
        values[each.values] = {**VALUES.get(each.values, {}), **image}  # type: ignore[dict-item]
    with namespace(f"order-engine-test-{uuid.uuid4().hex[:6]}") as name:
        installed = Release(name=RELEASE, namespace=name, values={**VALUES, **values})
        try:
            began = time.monotonic()
            installed.install()
            figures.fact("helm install --wait", f"{time.monotonic() - began:.0f} s")
            yield installed
        finally:
            if request.session.testsfailed:
                directory = Path(tempfile.mkdtemp(prefix="order-engine-cluster-"))
                _save_evidence(installed, directory)
                figures.fact("logs and events", directory)


@pytest.fixture(scope="session")
def access(release: Release) -> ClientAccess:
    return release.create_access()


@pytest.fixture(scope="session", autouse=True)
def prometheus(
    release: Release, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus | None]:
    """Scrapes during the whole session. None when the program is not available."""
    if (found := program("prometheus")) is None:
        yield None
        return
    objects = release.rendered({"monitoring": {"podMonitors": True, "rules": True}})
    with running_prometheus(found, release, objects, tmp_path_factory.mktemp("prom")) as running:
        yield running


def _save_evidence(release: Release, directory: Path) -> None:
    """Saves objects, events and logs before the namespace is deleted."""
    try:
        (directory / "objects").write_text(release.kubectl("get", "all,events", "-o", "wide"))
        for pod in kubectl("-n", release.namespace, "get", "pods", "-o", "name").split():
            logs = release.kubectl("logs", pod, "--all-containers", "--prefix", "--tail=2000")
            (directory / f"{pod.partition('/')[2]}.log").write_text(logs)
    except (CommandFailed, subprocess.TimeoutExpired) as error:
        (directory / "error").write_text(str(error))
