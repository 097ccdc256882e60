"""A local Prometheus that scrapes the pods as the operator would for the chart's PodMonitors.

It scrapes pods through the API server, because their addresses may not be reachable from outside
the cluster. It discovers them from a file that has the labels of `kubernetes_sd_configs`, because
Debian's build does not support those.
"""

import json
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from support.cluster import Release, pods_proxy
from support.helm import Object
from support.ports import free_port
from support.waiting import wait_until

READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
QUERY_TIMEOUT_S = 30
DISCOVER_EVERY_S = 1.0
PODS = "pods.json"
POD = "__meta_kubernetes_pod"


class Prometheus:
    def __init__(self, port: int) -> None:
        self._port = port

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._port}/-/ready", timeout=2
            ) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The series of an instant query."""
        result: list[dict[str, Any]] = self._get("query", query=promql)["result"]
        return result

    def targets(self) -> list[dict[str, Any]]:
        targets: list[dict[str, Any]] = self._get("targets", state="active")["activeTargets"]
        return targets

    def _get(self, path: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=QUERY_TIMEOUT_S) as response:
            return json.load(response)["data"]


@contextmanager
def running_prometheus(
    program: Path, release: Release, objects: list[Object], directory: Path
) -> Iterator[Prometheus]:
    """`objects` are the release's PodMonitors and PrometheusRule."""
    monitors = [part for part in objects if part["kind"] == "PodMonitor"]
    rules = next(part["spec"] for part in objects if part["kind"] == "PrometheusRule")
    port = free_port()
    with ExitStack() as stack:
        api = stack.enter_context(pods_proxy(release.namespace))
        log = stack.enter_context((directory / "prometheus.log").open("wb"))
        (directory / "rules.yaml").write_text(yaml.safe_dump(rules))
        (directory / "prometheus.yaml").write_text(
            yaml.safe_dump(
                {
                    "global": {"evaluation_interval": "15s"},
                    "rule_files": ["rules.yaml"],
                    "scrape_configs": [
                        scrape_config(monitor, release.namespace, f"127.0.0.1:{api}")
                        for monitor in monitors
                    ],
                }
            )
        )
        stack.enter_context(_discovering(api, release.namespace, directory / PODS))
        process = subprocess.Popen(
            [
                program,
                f"--config.file={directory}/prometheus.yaml",
                f"--storage.tsdb.path={directory}/tsdb",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            prometheus = Prometheus(port)
            wait_until(prometheus.is_ready, timeout_s=READY_TIMEOUT_S, what="Prometheus ready")
            yield prometheus
        finally:
            process.terminate()
            process.wait(STOP_TIMEOUT_S)


@contextmanager
def _discovering(api: int, namespace: str, file: Path) -> Iterator[None]:
    """Writes the pods to the file every second."""
    stop = threading.Event()

    def discover() -> None:
        while not stop.wait(DISCOVER_EVERY_S):
            try:
                url = f"http://127.0.0.1:{api}/api/v1/namespaces/{namespace}/pods"
                with urllib.request.urlopen(url, timeout=QUERY_TIMEOUT_S) as response:
                    groups = [
                        group for pod in json.load(response)["items"] for group in _targets(pod)
                    ]
            except (OSError, urllib.error.HTTPError):
                continue
            file.with_suffix(".new").write_text(json.dumps(groups))
            file.with_suffix(".new").rename(file)

    thread = threading.Thread(target=discover)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _targets(pod: Object) -> Iterator[dict[str, Any]]:
    """The targets of a pod, one for each port, with the labels of `role: pod`."""
    address = pod["status"].get("podIP")
    if not address:
        return
    labels = {
        "__meta_kubernetes_namespace": pod["metadata"]["namespace"],
        f"{POD}_name": pod["metadata"]["name"],
        f"{POD}_phase": pod["status"]["phase"],
        **{
            f"{POD}_label_{_label_name(label)}": value
            for label, value in pod["metadata"]["labels"].items()
        },
    }
    for container in pod["spec"]["containers"]:
        for port in container.get("ports", ()):
            yield {
                "targets": [f"{address}:{port['containerPort']}"],
                "labels": {
                    **labels,
                    f"{POD}_container_name": container["name"],
                    f"{POD}_container_port_name": port["name"],
                    f"{POD}_container_port_number": str(port["containerPort"]),
                },
            }


def scrape_config(monitor: Object, namespace: str, api: str) -> dict[str, Any]:
    """The operator's configuration for a PodMonitor, except for the path to the pod."""
    spec = monitor["spec"]
    (endpoint,) = spec["podMetricsEndpoints"]
    name = f"{namespace}/{monitor['metadata']['name']}"
    api_path = "/api/v1/namespaces/$1/pods/$2:$3/proxy" + endpoint["path"]
    return {
        "job_name": name,
        "scrape_interval": endpoint["interval"],
        "scrape_timeout": endpoint["interval"],
        "file_sd_configs": [{"files": [PODS], "refresh_interval": "1s"}],
        "relabel_configs": [
            {
                "action": "drop",
                "source_labels": [f"{POD}_phase"],
                "regex": "(Failed|Succeeded)",
            },
            *(
                {
                    "action": "keep",
                    "source_labels": [f"{POD}_label_{_label_name(label)}"],
                    "regex": value,
                }
                for label, value in spec["selector"]["matchLabels"].items()
            ),
            {
                "action": "keep",
                "source_labels": [f"{POD}_container_port_name"],
                "regex": endpoint["port"],
            },
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": [f"{POD}_container_name"], "target_label": "container"},
            {"source_labels": [f"{POD}_name"], "target_label": "pod"},
            *(
                {
                    "source_labels": [f"{POD}_label_{_label_name(label)}"],
                    "target_label": _label_name(label),
                }
                for label in spec["podTargetLabels"]
            ),
            {"target_label": "job", "replacement": name},
            {"target_label": "endpoint", "replacement": endpoint["port"]},
            {"source_labels": ["__address__"], "target_label": "instance"},
            {
                "source_labels": [
                    "__meta_kubernetes_namespace",
                    f"{POD}_name",
                    f"{POD}_container_port_number",
                ],
                "separator": ";",
                "regex": "(.+);(.+);(.+)",
                "target_label": "__metrics_path__",
                "replacement": api_path,
            },
            {"target_label": "__address__", "replacement": api},
        ],
    }


def _label_name(label: str) -> str:
    """A Kubernetes label as Prometheus writes it."""
    return label.replace(".", "_").replace("/", "_").replace("-", "_")
