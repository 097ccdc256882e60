"""A release of the chart on a real cluster: the one that KUBECONFIG points at."""

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
LOOK_EVERY_S = 0.2
GIVEN_VALUES = (f"--values={CHART}/values-dev.yaml", "--values=-")


class CommandFailed(Exception):
    """kubectl or helm failed, with its error."""


def kubectl(*arguments: str, given: str | None = None, timeout_s: float = KUBECTL_TIMEOUT_S) -> str:
    return output("kubectl", *arguments, given=given, timeout_s=timeout_s)


def output(*command: str, given: str | None = None, timeout_s: float) -> str:
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)}: {done.stderr}{done.stdout[-2000:]}")
    return done.stdout


def missing() -> str | None:
    """Why there is no cluster to test on; None when there is."""
    if not os.environ.get("KUBECONFIG"):  # noqa: TID251 - a test setting, not one of the engine
        return "KUBECONFIG names no cluster"
    if not shutil.which("kubectl"):
        return "no kubectl in PATH"
    try:
        kubectl("version", "-o", "json", timeout_s=20)
    except (CommandFailed, subprocess.TimeoutExpired) as error:
        return f"the cluster does not answer: {error}"
    return None


def node_address() -> str:
    """Where NodePorts are reached; TEST_NODE_ADDRESS where nodes are known by another address here."""
    if chosen := os.environ.get("TEST_NODE_ADDRESS"):  # noqa: TID251 - a test setting
        return chosen
    (node, *_) = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    return next(
        str(address["address"])
        for address in node["status"]["addresses"]
        if address["type"] == "InternalIP"
    )


def described() -> str:
    """What the cluster is."""
    nodes = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    kubelets = {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes}
    cpus = sum(int(node["status"]["capacity"]["cpu"]) for node in nodes)
    return f"Kubernetes {', '.join(sorted(kubelets))}; nodes: {len(nodes)}, CPUs: {cpus}"


@contextmanager
def namespace(name: str) -> Iterator[str]:
    """A new one that enforces Pod Security `restricted`, and goes with all that is in it."""
    levels = {
        f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")
    }
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": levels}}
    kubectl("create", "-f", "-", given=json.dumps(made))
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--timeout=120s", timeout_s=150)


@contextmanager
def forwarded(namespace: str, target: str, port: int) -> Iterator[int]:
    """A port of this machine that leads to `target`, as long as its pod lives."""
    command = ["kubectl", "-n", namespace, "port-forward", target, f":{port}"]
    with _until_ready(command, r"127\.0\.0\.1:(\d+) ->") as local_port:
        yield local_port


@contextmanager
def pods_proxy(namespace: str) -> Iterator[int]:
    """A port of this machine where the API server asks for no credentials, and answers no more than
    the list of pods and their admin ports.
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
        found = re.search(pattern, process.stdout.readline())
        if not found:
            raise CommandFailed(f"{' '.join(command)}: {process.communicate(timeout=5)[1]}")
        yield int(found[1])
    finally:
        process.terminate()
        process.communicate(timeout=FORWARD_TIMEOUT_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """How clients get in: NodePorts of the two Services, so that each connection goes Service's way."""

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
        """`values` are merged over those of the installation."""
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
            *(() if values is None else GIVEN_VALUES),
            given=None if values is None else json.dumps(values),
            timeout_s=HELM_TIMEOUT_S + 30,
        )

    def rendered(self, values: Values) -> list[Object]:
        """What the chart would make with further values; nothing of it is installed."""
        text = output(
            *(str(needed_helm()), "template", self.name, str(CHART)),
            *("--namespace", self.namespace, *GIVEN_VALUES),
            given=json.dumps(_merged(self.values, values)),
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
        """Those that are there, leaving or not; without those of Jobs."""
        selector = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component"
        which = f"{selector}={component}" if component else f"{selector}!=migrate"
        found: list[Object] = json.loads(self.kubectl("get", "pods", "-l", which, "-o", "json"))[
            "items"
        ]
        return found

    def ready_pods(self, component: str) -> set[str]:
        """The uids of those that Services send to."""
        return {
            pod["metadata"]["uid"]
            for pod in self.pods(component)
            if "deletionTimestamp" not in pod["metadata"] and is_ready(pod)
        }

    def scale(self, component: str, replicas: int) -> float:
        """Seconds until exactly this many pods exist and are ready."""
        began = time.monotonic()
        self.kubectl("scale", f"deployment/{self.object(component)}", f"--replicas={replicas}")
        self.settled(component, replicas)
        return time.monotonic() - began

    def settled(self, component: str, replicas: int) -> None:
        deadline = time.monotonic() + ROLLED_TIMEOUT_S
        while not (
            len(self.ready_pods(component)) == replicas and len(self.pods(component)) == replicas
        ):
            assert time.monotonic() < deadline, f"{component} has not come to {replicas} pods"
            time.sleep(LOOK_EVERY_S)

    def count(self, metric: str, component: str) -> dict[str, float]:
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
        """Deletes the one pod; seconds until another is ready. With no grace, the API server
        forgets the pod at once and the kubelet kills it.
        """
        (pod,) = self.pods(component)
        began = time.monotonic()
        force = ["--force"] if grace_s == 0 else []
        name = pod["metadata"]["name"]
        self.kubectl("delete", "pod", name, f"--grace-period={grace_s}", "--wait=false", *force)
        while not self.ready_pods(component) - {pod["metadata"]["uid"]}:
            assert time.monotonic() - began < ROLLED_TIMEOUT_S, f"no new pod of {component}"
            time.sleep(LOOK_EVERY_S)
        return time.monotonic() - began

    @contextmanager
    def databases(self) -> Iterator[Databases]:
        """The development PostgreSQL, as long as its pod lives."""
        with forwarded(self.namespace, f"service/{self.object('postgres')}", 5432) as port:
            yield Databases(
                orders_url=f"postgresql://engine:engine@127.0.0.1:{port}/orders",
                chain_url=f"postgresql://chain:chain@127.0.0.1:{port}/chain",
            )

    def door(self) -> Door:
        """The public address, with a key made as NOTES.txt describes."""
        secret = self.kubectl(
            *("exec", f"deployment/{self.object('gateway')}", "-c", "gateway", "--"),
            *("order-engine", "keys", "create", "cluster-test"),
            *("--scope", "trade", "--scope", "read"),
        ).strip()
        address = node_address()
        urls = [
            f"http://{address}:{self.get('service', self.object(name))['spec']['ports'][0]['nodePort']}"
            for name in ("gateway", "ws-gateway")
        ]
        return Door(url=urls[0], stream_url=urls[1], api_key=secret)


def is_ready(pod: Object) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in pod["status"].get("conditions", ())
    )


def _merged(below: Values, above: Values) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
