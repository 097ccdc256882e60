"""A release of the chart on the cluster of KUBECONFIG."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from order_engine.client import EngineClient
from support.helm import CHART, Object, Values, needed_helm
from support.stores import Databases

KUBECTL_TIMEOUT_S = 60
HELM_TIMEOUT_S = 300
ROLLED_TIMEOUT_S = 120
FORWARD_TIMEOUT_S = 30
POLL_EVERY_S = 0.2
VALUES_OPTIONS = (f"--values={CHART}/values-dev.yaml", "--values=-")


class CommandFailed(Exception):
    """kubectl or helm failed; the message has its error output."""


def kubectl(*arguments: str, stdin: str | None = None, timeout_s: float = KUBECTL_TIMEOUT_S) -> str:
    return output("kubectl", *arguments, stdin=stdin, timeout_s=timeout_s)


def output(*command: str, stdin: str | None = None, timeout_s: float) -> str:
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)}: {done.stderr}{done.stdout[-2000:]}")
    return done.stdout


def why_unusable() -> str | None:
    """Why the cluster cannot be used; None when it can."""
    if not os.environ.get("KUBECONFIG"):  # noqa: TID251 - a test setting, not one of the engine
        return "KUBECONFIG is not set"
    if not shutil.which("kubectl"):
        return "kubectl is not in PATH"
    try:
        kubectl("version", "-o", "json", timeout_s=20)
    except (CommandFailed, subprocess.TimeoutExpired) as error:
        return f"the cluster does not answer: {error}"
    return None


def node_address() -> str:
    """The host of the NodePorts: TEST_NODE_ADDRESS, or the InternalIP of a node."""
    if chosen := os.environ.get("TEST_NODE_ADDRESS"):  # noqa: TID251 - a test setting
        return chosen
    (node, *_) = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    return next(
        str(address["address"])
        for address in node["status"]["addresses"]
        if address["type"] == "InternalIP"
    )


def cluster_description() -> str:
    """The version and size of the cluster."""
    nodes = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    kubelets = {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes}
    cpus = sum(int(node["status"]["capacity"]["cpu"]) for node in nodes)
    return f"Kubernetes {', '.join(sorted(kubelets))}; nodes: {len(nodes)}, CPUs: {cpus}"


@contextmanager
def namespace(name: str) -> Iterator[str]:
    """A new namespace that enforces Pod Security `restricted`; it is deleted at the end."""
    levels = {
        f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")
    }
    manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": levels},
    }
    kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--timeout=120s", timeout_s=150)


@contextmanager
def forwarded(namespace: str, target: str, port: int) -> Iterator[int]:
    """A local port that is forwarded to `target` while the pod exists."""
    command = ["kubectl", "-n", namespace, "port-forward", target, f":{port}"]
    with _until_ready(command, r"127\.0\.0\.1:(\d+) ->") as local_port:
        yield local_port


@contextmanager
def pods_proxy(namespace: str) -> Iterator[int]:
    """A local port that needs no credentials, and gives access only to the list of pods and their
    admin ports.
    """
    command = [
        *("kubectl", "proxy", "--port=0", "--reject-methods=^(POST|PUT|PATCH|DELETE)$"),
        f"--accept-paths=^/api/v1/namespaces/{namespace}/pods(/[^/]+/proxy/[a-z]+)?$",
    ]
    with _until_ready(command, r"127\.0\.0\.1:(\d+)") as port:
        yield port


@contextmanager
def _until_ready(command: list[str], pattern: str) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        match = re.search(pattern, process.stdout.readline())
        if not match:
            raise CommandFailed(f"{' '.join(command)}: {process.communicate(timeout=5)[1]}")
        yield int(match[1])
    finally:
        process.terminate()
        process.communicate(timeout=FORWARD_TIMEOUT_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAccess:
    """The URLs of the two Services at their NodePorts, and the API key that clients use."""

    url: str
    stream_url: str
    api_key: str

    def client(self) -> EngineClient:
        return EngineClient(self.url, stream_base_url=self.stream_url, api_key=self.api_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    name: str
    namespace: str
    values: Values

    # helm

    def install(self) -> None:
        self._helm("install", self.name, str(CHART), values=self.values)

    def upgrade(self, values: Values) -> None:
        """`values` override those of the installation."""
        self._helm("upgrade", self.name, str(CHART), values=_merged(self.values, values))

    def rollback(self) -> None:
        self._helm("rollback", self.name)

    def uninstall(self) -> None:
        self._helm("uninstall", self.name)

    def _helm(self, verb: str, *arguments: str, values: Values | None = None) -> None:
        output(
            str(needed_helm()),
            *(verb, *arguments, "--namespace", self.namespace),
            *("--wait", f"--timeout={HELM_TIMEOUT_S}s"),
            *(() if values is None else VALUES_OPTIONS),
            stdin=None if values is None else json.dumps(values),
            timeout_s=HELM_TIMEOUT_S + 30,
        )

    def rendered(self, values: Values) -> list[Object]:
        """The objects that the chart renders with additional values; they are not installed."""
        text = output(
            *(str(needed_helm()), "template", self.name, str(CHART)),
            *("--namespace", self.namespace, *VALUES_OPTIONS),
            stdin=json.dumps(_merged(self.values, values)),
            timeout_s=KUBECTL_TIMEOUT_S,
        )
        return [part for part in yaml.safe_load_all(text) if part is not None]

    # kubectl

    def kubectl(self, *arguments: str, timeout_s: float = KUBECTL_TIMEOUT_S) -> str:
        return kubectl("-n", self.namespace, *arguments, timeout_s=timeout_s)

    def get(self, kind: str, name: str = "") -> Any:
        return json.loads(self.kubectl("get", kind, *([name] if name else []), "-o", "json"))

    def object(self, component: str) -> str:
        return f"{self.name}-order-engine-{component}"

    def pods(self, component: str | None = None) -> list[Object]:
        """All pods, including terminating ones; pods of Jobs are left out."""
        selector = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component"
        which = f"{selector}={component}" if component else f"{selector}!=migrate"
        listed = self.kubectl("get", "pods", "-l", which, "-o", "json")
        pods: list[Object] = json.loads(listed)["items"]
        return pods

    def ready_pods(self, component: str) -> set[str]:
        """The uids of the pods that receive traffic from Services."""
        return {
            pod["metadata"]["uid"]
            for pod in self.pods(component)
            if "deletionTimestamp" not in pod["metadata"] and is_ready(pod)
        }

    def scale(self, component: str, replicas: int) -> float:
        """Returns the seconds until exactly this many pods exist and are ready."""
        began = time.monotonic()
        self.kubectl("scale", f"deployment/{self.object(component)}", f"--replicas={replicas}")
        self.wait_until_settled(component, replicas)
        return time.monotonic() - began

    def wait_until_settled(self, component: str, replicas: int) -> None:
        deadline = time.monotonic() + ROLLED_TIMEOUT_S
        while not (
            len(self.ready_pods(component)) == replicas and len(self.pods(component)) == replicas
        ):
            assert time.monotonic() < deadline, f"{component} does not have {replicas} ready pods"
            time.sleep(POLL_EVERY_S)

    def metric_by_pod(self, metric: str, component: str) -> dict[str, float]:
        """The sum of a metric's series in each of the component's pods."""
        counts = {}
        for pod in self.pods(component):
            name = pod["metadata"]["name"]
            path = f"/api/v1/namespaces/{self.namespace}/pods/{name}:9100/proxy/metrics"
            lines = kubectl("get", "--raw", path).splitlines()
            counts[name] = sum(
                float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{metric}[ {{]", line)
            )
        return counts

    def kill(self, component: str, *, grace_s: int) -> float:
        """Deletes the only pod; returns the seconds until a new one is ready.

        Without grace, the API server removes the pod immediately and the kubelet kills it.
        """
        (pod,) = self.pods(component)
        began = time.monotonic()
        force = ["--force"] if grace_s == 0 else []
        name = pod["metadata"]["name"]
        self.kubectl("delete", "pod", name, f"--grace-period={grace_s}", "--wait=false", *force)
        while not self.ready_pods(component) - {pod["metadata"]["uid"]}:
            assert time.monotonic() - began < ROLLED_TIMEOUT_S, f"no new pod of {component}"
            time.sleep(POLL_EVERY_S)
        return time.monotonic() - began

    @contextmanager
    def databases(self) -> Iterator[Databases]:
        """The development PostgreSQL, reachable while its pod exists."""
        with forwarded(self.namespace, f"service/{self.object('postgres')}", 5432) as port:
            yield Databases(
                orders_url=f"postgresql://engine:engine@127.0.0.1:{port}/orders",
                chain_url=f"postgresql://chain:chain@127.0.0.1:{port}/chain",
            )

    def create_access(self) -> ClientAccess:
        """The public URLs, with a new API key that is created as NOTES.txt describes."""
        secret = self.kubectl(
            *("exec", f"deployment/{self.object('gateway')}", "-c", "gateway", "--"),
            *("order-engine", "keys", "create", "cluster-test"),
            *("--scope", "trade", "--scope", "read"),
        ).strip()
        address = node_address()
        services = [self.get("service", self.object(name)) for name in ("gateway", "ws-gateway")]
        urls = [
            f"http://{address}:{service['spec']['ports'][0]['nodePort']}" for service in services
        ]
        return ClientAccess(url=urls[0], stream_url=urls[1], api_key=secret)


def is_ready(pod: Object) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in pod["status"].get("conditions", ())
    )


def _merged(values: Values, overrides: Values) -> dict[str, Any]:
    merged = dict(values)
    for key, value in overrides.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
