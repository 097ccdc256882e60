"""Every kind of edge sends stream paths to ws-gateway and all other paths to gateway.

Paths are matched by the documented rules of the controllers; no controller runs.
"""

import re
from collections.abc import Callable
from fnmatch import fnmatchcase

import pytest
from starlette.routing import Route

import order_engine.gateway.app
import order_engine.ws_gateway.app
from chart.scenarios import RENDERED, SECRETS
from support.helm import Object, Refused, of_kind, rendered

STREAMS = [
    "/api/stream",
    "/api/orders/0197b2c4-0000-7000-8000-000000000000/stream",
]
REST = [
    *("/", "/health", "/openapi.json", "/api/orders", "/api/orders/execute", "/api/streams"),
    *("/api/orders/1", "/api/orders/1/events", "/api/orders/1/cancel", "/api/stream/x"),
    *("/api/orders/1/stream/x", "/x/api/stream"),
]

# nginx: an anchored prefix, longest first; Traefik the same by its length of a rule. alb: in order.
MATCHES: dict[str, Callable[[str, str], bool]] = {
    "nginx": lambda pattern, path: re.match(f"^{pattern}", path, re.IGNORECASE) is not None,
    "traefik": lambda pattern, path: re.search(pattern, path) is not None,
    "alb": lambda pattern, path: fnmatchcase(path, pattern),
}


def led_to(path: str, controller: str) -> str:
    (ingress,) = of_kind(RENDERED[f"ingress-{controller}"].objects(), "Ingress")
    (rule,) = ingress["spec"]["rules"]
    paths = rule["http"]["paths"]
    if controller != "alb":
        paths = sorted(paths, key=lambda entry: -len(entry["path"]))
    return next(
        str(entry["backend"]["service"]["name"])
        for entry in paths
        if MATCHES[controller](entry["path"], path)
    )


@pytest.mark.parametrize("controller", MATCHES)
@pytest.mark.parametrize("path", STREAMS)
def test_an_ingress_sends_streams_to_ws_gateway(controller: str, path: str) -> None:
    assert led_to(path, controller) == "engine-order-engine-ws-gateway"


@pytest.mark.parametrize("controller", MATCHES)
@pytest.mark.parametrize("path", REST)
def test_an_ingress_sends_the_rest_to_gateway(controller: str, path: str) -> None:
    assert led_to(path, controller) == "engine-order-engine-gateway"


def test_annotations_of_the_values_override_those_of_the_chart() -> None:
    (ingress,) = of_kind(RENDERED["ingress-nginx"].objects(), "Ingress")

    annotations = ingress["metadata"]["annotations"]

    assert annotations["nginx.ingress.kubernetes.io/use-regex"] == "true"
    assert annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "60"


def test_a_load_balancer_probes_a_path_that_both_gateways_serve() -> None:
    (ingress,) = of_kind(RENDERED["ingress-alb"].objects(), "Ingress")
    path = ingress["metadata"]["annotations"]["alb.ingress.kubernetes.io/healthcheck-path"]
    of_gke = "/"

    for routes in (order_engine.gateway.app.ROUTES, order_engine.ws_gateway.app.ROUTES):
        assert {path, of_gke} <= {route.path for route in routes if isinstance(route, Route)}


KEEP_ALIVE = "HTTP_KEEP_ALIVE_S"
ATTRIBUTES = "alb.ingress.kubernetes.io/load-balancer-attributes"


def kept_alive(
    controller: str, keep_alive_s: int, *, idle: str = "", group: str = "gateway"
) -> Object:
    """Values with an Ingress; `idle` are the attributes of an ALB, among which its idle timeout."""
    return {
        **SECRETS,
        group: {"config": {KEEP_ALIVE: keep_alive_s}},
        "ingress": {
            "enabled": True,
            "controller": controller,
            "hosts": ["orders.example"],
            "annotations": {ATTRIBUTES: idle} if idle else {},
        },
    }


def keep_alive_of(deployable: str, objects: list[Object]) -> int:
    [deployment] = [
        each
        for each in of_kind(objects, "Deployment")
        if each["metadata"]["name"] == f"engine-order-engine-{deployable}"
    ]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    [value] = [each["value"] for each in container["env"] if each["name"] == KEEP_ALIVE]
    return int(value)


@pytest.mark.parametrize("deployable", ["gateway", "ws-gateway"])
@pytest.mark.parametrize(
    "scenario", ["defaults", "ingress-alb", "ingress-nginx", "ingress-traefik", "http-route"]
)
def test_a_gateway_keeps_idle_connections_longer_than_the_edge(
    scenario: str, deployable: str
) -> None:
    """An ALB keeps them for up to 4,000 s, the others less."""
    assert keep_alive_of(deployable, RENDERED[scenario].objects()) > 4000


@pytest.mark.parametrize(
    ("controller", "keep_alive_s", "idle"),
    [
        ("nginx", 61, ""),
        ("traefik", 91, ""),
        ("alb", 3601, ""),
        ("alb", 75, "idle_timeout.timeout_seconds=60"),
        ("alb", 61, "access_logs.s3.enabled=false"),
        ("alb", 4001, "access_logs.s3.enabled=false,idle_timeout.timeout_seconds=4000"),
    ],
)
def test_a_keep_alive_that_is_longer_than_that_of_the_edge_is_accepted(
    controller: str, keep_alive_s: int, idle: str
) -> None:
    values = kept_alive(controller, keep_alive_s, idle=idle)

    assert keep_alive_of("gateway", rendered(values)) == keep_alive_s


@pytest.mark.parametrize("group", ["gateway", "wsGateway"])
@pytest.mark.parametrize(
    ("controller", "keep_alive_s", "idle", "idle_s"),
    [
        ("nginx", 60, "", 60),
        ("traefik", 75, "", 90),
        ("alb", 75, "", 3600),
        ("alb", 3600, "", 3600),
        ("alb", 60, "idle_timeout.timeout_seconds=60", 60),
        ("alb", 60, "access_logs.s3.enabled=false", 60),
        ("alb", 3660, "access_logs.s3.enabled=false,idle_timeout.timeout_seconds=4000", 4000),
    ],
)
def test_a_keep_alive_that_is_not_longer_than_that_of_the_edge_is_refused(
    controller: str, keep_alive_s: int, idle: str, idle_s: int, group: str
) -> None:
    with pytest.raises(Refused) as refused:
        rendered(kept_alive(controller, keep_alive_s, idle=idle, group=group))

    assert (
        f"{group}.config.{KEEP_ALIVE} is {keep_alive_s}, but the edge (ingress.controller"
        f" {controller}) keeps idle connections for {idle_s} s: give more, or requests are lost"
    ) in str(refused.value)


def routed_to(path: str, scenario: str, *, upgrade: str = "") -> str:
    """The backend in the order that Gateway API requires: exact paths, then the longest prefix."""
    (route,) = of_kind(RENDERED[scenario].objects(), "HTTPRoute")
    matches = [
        (match, str(rule["backendRefs"][0]["name"]))
        for rule in route["spec"]["rules"]
        for match in rule["matches"]
    ]

    def rank(entry: tuple[Object, str]) -> tuple[int, int]:
        how = entry[0]["path"]
        kinds = ("Exact", "RegularExpression", "PathPrefix")  # as Envoy Gateway and nginx do
        return kinds.index(how["type"]), -len(how["value"])

    for match, backend in sorted(matches, key=rank):
        how, value = match["path"]["type"], match["path"]["value"]
        is_path = {
            "Exact": path == value,
            "RegularExpression": re.fullmatch(value, path) is not None,
            "PathPrefix": f"{path}/".startswith(f"{value.rstrip('/')}/"),
        }[how]
        headers = match.get("headers", [])
        if is_path and all(header["value"] == upgrade for header in headers):
            return backend
    raise AssertionError(f"{path} leads nowhere")


@pytest.mark.parametrize("scenario", ["http-route", "http-route-by-path"])
@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "Websocket", "WEBSOCKET"])
def test_a_route_sends_streams_to_ws_gateway(scenario: str, path: str, upgrade: str) -> None:
    assert routed_to(path, scenario, upgrade=upgrade) == "engine-order-engine-ws-gateway"


def test_a_route_has_no_more_matches_than_every_version_of_the_api_allows() -> None:
    (route,) = of_kind(RENDERED["http-route"].objects(), "HTTPRoute")

    assert all(len(rule["matches"]) <= 8 for rule in route["spec"]["rules"])


@pytest.mark.parametrize("scenario", ["http-route", "http-route-by-path"])
@pytest.mark.parametrize("path", REST)
@pytest.mark.parametrize("upgrade", ["", "h2c"])
def test_a_route_sends_the_rest_to_gateway(scenario: str, path: str, upgrade: str) -> None:
    assert routed_to(path, scenario, upgrade=upgrade) == "engine-order-engine-gateway"
