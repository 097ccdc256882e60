"""Values that the chart must render, and values that it must refuse."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from order_engine.execution.domain.status import OrderStatus
from support.helm import Object, rendered

SECRETS = {"postgres": {"secret": {"name": "pg"}}, "redis": {"secret": {"name": "rd"}}}
DEVELOPMENT = {"development": {"postgres": {"enabled": True}, "redis": {"enabled": True}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    values: Mapping[str, Any]
    presets: tuple[str, ...] = ()
    release: str = "engine"

    def objects(self) -> list[Object]:
        return rendered(self.values, presets=self.presets, release=self.release)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    values: Mapping[str, Any]
    reason: str
    presets: tuple[str, ...] = field(default=())
    release: str = "engine"


def scaled_by(kind: str, **further: Any) -> dict[str, Any]:
    return {"autoscaling": {kind: {"enabled": True, **further}}}


RENDERED: Mapping[str, Scenario] = {
    "defaults": Scenario(values=SECRETS),
    "dev": Scenario(values={}, presets=("dev",)),
    "dev-in-memory": Scenario(
        values={"development": {"postgres": {"storage": ""}}}, presets=("dev",)
    ),
    "production": Scenario(values=SECRETS, presets=("production",)),
    "hpa": Scenario(
        values={
            **SECRETS,
            "defaults": {
                **scaled_by("hpa"),
                "autoscaling": {
                    "hpa": {"enabled": True},
                    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
                },
            },
        }
    ),
    "keda": Scenario(values={**SECRETS, "defaults": scaled_by("keda")}),
    "keda-without-limits": Scenario(
        values={
            **SECRETS,
            "orderWorker": {
                "config": {"QUEUE_RATE_LIMIT_PER_MINUTE": 0},
                **scaled_by("keda", scaleOn="queueLength"),
            },
            "statusDispatcher": {
                "config": {"WS_WORKER_RATE_LIMIT": 0},
                **scaled_by("keda"),
            },
        }
    ),
    "autoscaled-from-nothing": Scenario(
        values={**SECRETS, "defaults": {"replicas": 0, **scaled_by("hpa")}}
    ),
    "one-of-each-autoscaler": Scenario(
        values={**SECRETS, "gateway": scaled_by("hpa"), "orderWorker": scaled_by("keda")}
    ),
    "urls": Scenario(
        values={
            "postgres": {"url": "postgresql://u:p@pg/orders", "chainUrl": "postgresql://c@pg/c"},
            "redis": {"url": "redis://rd:6379/0", "pubsubUrl": "redis://rd2:6379/0"},
        }
    ),
    "tls": Scenario(
        values={
            "postgres": {**SECRETS["postgres"], "tls": {"caSecret": "pg-ca"}},
            "redis": {"url": "rediss://rd:6380/0?a=b", "tls": {"caSecret": "rd-ca"}},
        }
    ),
    "network-policies-to-known-stores": Scenario(
        values={
            **SECRETS,
            "networkPolicy": {
                "clients": [{"namespaceSelector": {"matchLabels": {"edge": "yes"}}}],
                "scrapers": [{"namespaceSelector": {"matchLabels": {"watch": "yes"}}}],
                "postgres": [{"ipBlock": {"cidr": "10.0.0.1/32"}}],
                "redis": [{"ipBlock": {"cidr": "10.0.0.2/32"}}],
            },
        }
    ),
    "without-network-policies": Scenario(values={**SECRETS, "networkPolicy": {"enabled": False}}),
    "ingress-nginx": Scenario(
        values={
            **SECRETS,
            "trustedProxies": ["10.0.0.0/8"],
            "corsOrigins": ["https://a.example", "https://b.example"],
            "ingress": {
                "enabled": True,
                "className": "nginx",
                "hosts": ["orders.example"],
                "tls": [{"hosts": ["orders.example"], "secretName": "cert"}],
                "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "60"},
            },
        }
    ),
    "ingress-traefik": Scenario(
        values={
            **SECRETS,
            "ingress": {"enabled": True, "controller": "traefik", "hosts": ["orders.example"]},
        }
    ),
    "ingress-alb": Scenario(
        values={
            **SECRETS,
            "ingress": {"enabled": True, "controller": "alb", "hosts": ["orders.example"]},
        }
    ),
    "http-route": Scenario(
        values={
            **SECRETS,
            "httpRoute": {
                "enabled": True,
                "parentRefs": [{"name": "edge"}],
                "hostnames": ["orders.example"],
            },
        }
    ),
    "http-route-by-path": Scenario(
        values={
            **SECRETS,
            "httpRoute": {"enabled": True, "streams": "path", "parentRefs": [{"name": "edge"}]},
        }
    ),
    "openshift": Scenario(values=SECRETS, presets=("production", "openshift")),
    "openshift-dev": Scenario(values={}, presets=("dev", "openshift")),
    "both-families-overridden": Scenario(
        values={
            **SECRETS,
            "defaults": {"config": {"ADMIN_HOST": "0.0.0.0"}},  # noqa: S104 - of a pod
            "gateway": {"config": {"HOST": "0.0.0.0"}},  # noqa: S104 - of a pod
        }
    ),
    "monitoring": Scenario(
        values={
            **SECRETS,
            "monitoring": {
                "podMonitors": True,
                "rules": True,
                "dashboards": True,
                "labels": {"release": "prometheus"},
            },
        }
    ),
    "each-status-for-itself": Scenario(
        values={
            **SECRETS,
            "statusDispatcher": {
                "replicas": 2,
                "tolerations": [{"operator": "Exists"}],
                "podLabels": {"team": "trading"},
                "statuses": {
                    status: {
                        "replicas": 1 + count,
                        "podAnnotations": {"for": str(status)},
                        "config": {"WS_WORKER_CONCURRENCY": 10 + count},
                        "extraEnv": [{"name": "PYTHONFAULTHANDLER", "value": "1"}],
                        "priorityClassName": "mine",
                        "resources": {"limits": {"memory": f"{100 + count}Mi"}},
                    }
                    for count, status in enumerate(OrderStatus)
                },
            },
        }
    ),
    "replicas-left-to-kubectl": Scenario(
        values={**SECRETS, "defaults": {"replicas": ""}, "gateway": {"replicas": 2}}
    ),
    "priority-classes": Scenario(values={**SECRETS, "priorityClasses": {"create": True}}),
    "long-name": Scenario(
        values=DEVELOPMENT | {"priorityClasses": {"create": True}},
        release="the-longest-release-name-that-helm-takes-is-of-53-chars"[:53],
    ),
    "release-with-a-dot-and-a-name-of-its-own": Scenario(
        values={**SECRETS, "fullnameOverride": "a-b"}, release="a.b"
    ),
    "settings-of-every-deployable": Scenario(
        values={
            **SECRETS,
            "defaults": {"config": {"LOG_LEVEL": "DEBUG"}},
            "gateway": {"config": {"ORDERS_WAITING_MAX": 1_000_000, "BODY_BYTES_MAX": 32768}},
            "orderWorker": {"config": {"VENUE_SEED": 7, "ORDER_BACKOFF_S": 0.5}},
            "wsGateway": {"drainSeconds": 60},
        }
    ),
}

REFUSED: Mapping[str, Refusal] = {
    "nothing-given": Refusal(values={}, reason="postgres: set exactly one of"),
    "two-sources-of-a-url": Refusal(
        values=SECRETS | {"redis": {"url": "redis://r/0", "secret": {"name": "rd"}}},
        reason="redis: set exactly one of",
    ),
    "name-that-no-service-can-have": Refusal(
        values=SECRETS | {"fullnameOverride": "My_Name"}, reason="fullnameOverride"
    ),
    "release-with-a-dot": Refusal(
        values=SECRETS,
        release="a.b",
        reason="a.b-order-engine cannot begin the names of Services: give fullnameOverride",
    ),
    "release-that-begins-with-a-digit": Refusal(
        values=SECRETS,
        release="1engine",
        reason="1engine-order-engine cannot begin the names of Services: give fullnameOverride",
    ),
    "proxy-by-name": Refusal(
        values=SECRETS | {"trustedProxies": ["10.0.0.0/8", "nginx"]}, reason="trustedProxies"
    ),
    "origin-without-scheme": Refusal(
        values=SECRETS | {"corsOrigins": ["app.example.com"]}, reason="corsOrigins"
    ),
    "misspelt-key": Refusal(values=SECRETS | {"orderWorkers": {}}, reason="orderWorkers"),
    "misspelt-key-of-a-group": Refusal(
        values=SECRETS | {"orderWorker": {"replica": 2}}, reason="replica"
    ),
    "misspelt-key-of-a-status": Refusal(
        values=SECRETS | {"statusDispatcher": {"statuses": {"failed": {"replica": 2}}}},
        reason="replica",
    ),
    "replicas-of-a-job": Refusal(
        values=SECRETS | {"migration": {"replicas": 2}}, reason="replicas"
    ),
    "misspelt-setting": Refusal(
        values=SECRETS | {"orderWorker": {"config": {"QUEUE_CONCURRENCY": 2}}},
        reason="QUEUE_CONCURRENCY",
    ),
    "setting-of-another-deployable": Refusal(
        values=SECRETS | {"gateway": {"config": {"WS_PING_S": 2}}}, reason="WS_PING_S"
    ),
    "setting-out-of-bounds": Refusal(
        values=SECRETS | {"orderWorker": {"config": {"QUEUE_MAX_CONCURRENCY": 0}}},
        reason="QUEUE_MAX_CONCURRENCY",
    ),
    "entry-of-an-earlier-layer-taken-away": Refusal(
        values=SECRETS
        | {
            "defaults": {"nodeSelector": {"disk": "fast"}},
            "gateway": {"nodeSelector": {"disk": None}},
        },
        reason="disk",
    ),
    "bound-of-an-earlier-layer-taken-away": Refusal(
        values=SECRETS | {"gateway": {"resources": {"limits": {"memory": None}}}}, reason="memory"
    ),
    "ingress-for-a-host-without-name": Refusal(
        values=SECRETS | {"ingress": {"enabled": True, "hosts": [""]}}, reason="hosts"
    ),
    "setting-past-its-place": Refusal(
        values=SECRETS | {"gateway": {"extraEnv": [{"name": "AUTH", "value": "open"}]}},
        reason="extraEnv",
    ),
    "setting-past-its-place-in-small-letters": Refusal(
        values=SECRETS | {"gateway": {"extraEnv": [{"name": "auth", "value": "open"}]}},
        presets=("production",),
        reason="extraEnv",
    ),
    "pods-that-no-selector-knows": Refusal(
        values=SECRETS | {"defaults": {"podLabels": {"app.kubernetes.io/component": "mine"}}},
        reason="app.kubernetes.io/component",
    ),
    "monitors-of-another-release": Refusal(
        values=SECRETS | {"monitoring": {"labels": {"app.kubernetes.io/instance": "other"}}},
        reason="app.kubernetes.io/instance",
    ),
    "budget-that-blocks-a-drain": Refusal(
        values=SECRETS | {"gateway": {"podDisruptionBudget": {"maxUnavailable": 0}}},
        reason="maxUnavailable",
    ),
    "unknown-status": Refusal(
        values=SECRETS | {"statusDispatcher": {"statuses": {"lost": {}}}}, reason="lost"
    ),
    "drain-longer-than-the-grace-period": Refusal(
        values=SECRETS | {"orderWorker": {"drainSeconds": 26, "terminationGracePeriodSeconds": 30}},
        reason="order-worker: terminationGracePeriodSeconds is 30, but a pod needs up to 31 s to stop"
        " (preStopSleepSeconds 0, drainSeconds 26, and 5 to end)",
    ),
    "sleep-longer-than-the-grace-period": Refusal(
        values=SECRETS
        | {"wsGateway": {"preStopSleepSeconds": 6, "terminationGracePeriodSeconds": 40}},
        reason="ws-gateway: terminationGracePeriodSeconds is 40, but a pod needs up to 41 s to stop"
        " (preStopSleepSeconds 6, drainSeconds 20, and 15 to end)",
    ),
    "drain-shorter-than-the-longest-job": Refusal(
        values=SECRETS | {"orderWorker": {"drainSeconds": 4}},
        reason="order-worker: with drainSeconds 4 an order has 3.2 s to finish, but may need 3.35 s",
    ),
    "job-longer-than-the-drain": Refusal(
        values=SECRETS | {"orderWorker": {"config": {"VENUE_EXECUTION_MAX_S": 60}}},
        reason="order-worker: with drainSeconds 20 an order has 16 s to finish, but may need 60.35 s",
    ),
    "gateway-without-time-for-its-requests": Refusal(
        values=SECRETS | {"gateway": {"drainSeconds": 0, "terminationGracePeriodSeconds": 15}},
        reason="gateway: terminationGracePeriodSeconds is 15, but a pod needs up to 20 s to stop",
    ),
    "two-autoscalers": Refusal(
        values=SECRETS
        | {"gateway": {"autoscaling": {"hpa": {"enabled": True}, "keda": {"enabled": True}}}},
        reason="gateway: autoscaling.hpa and autoscaling.keda are both enabled",
    ),
    "two-autoscalers-from-two-layers": Refusal(
        values=SECRETS
        | {
            "defaults": scaled_by("hpa"),
            "statusDispatcher": {"statuses": {"failed": scaled_by("keda")}},
        },
        reason="status-dispatcher-failed: autoscaling.hpa and autoscaling.keda are both enabled",
    ),
    "minimum-above-maximum": Refusal(
        values=SECRETS | {"gateway": {"autoscaling": {"minReplicas": 9}}},
        reason="minReplicas is above maxReplicas",
    ),
    "no-minimum": Refusal(
        values=SECRETS | {"orderWorker": {"autoscaling": {"minReplicas": 0}}}, reason="minReplicas"
    ),
    "no-order-worker": Refusal(
        values=SECRETS | {"orderWorker": {"replicas": 0}},
        reason="order-worker: replicas is 0, but at least one is always needed",
    ),
    "no-dispatchers": Refusal(
        values=SECRETS | {"statusDispatcher": {"replicas": 0}},
        reason="replicas is 0, but at least one is always needed",
    ),
    "status-without-a-dispatcher": Refusal(
        values=SECRETS | {"statusDispatcher": {"statuses": {"failed": {"replicas": 0}}}},
        reason="status-dispatcher-failed: replicas is 0, but at least one is always needed",
    ),
    "cpu-target-without-request": Refusal(
        values=SECRETS
        | {
            "defaults": {"resources": {"requests": {"cpu": None}}},
            "gateway": scaled_by("hpa"),
        },
        reason="gateway: autoscaling.hpa needs resources.requests.cpu",
    ),
    "rate-limit-and-plain-queue-length": Refusal(
        values=SECRETS | {"orderWorker": scaled_by("keda", scaleOn="queueLength")},
        reason="order-worker: scaling by queue length is useless with a rate limit",
    ),
    "rate-limit-and-length-of-a-redis-list": Refusal(
        values=SECRETS
        | {"statusDispatcher": scaled_by("keda", triggers=[{"type": "redis", "metadata": {}}])},
        reason="scaling by queue length is useless with a rate limit",
    ),
    "queue-length-of-a-gateway": Refusal(
        values=SECRETS | {"gateway": scaled_by("keda", scaleOn="queueLength")},
        reason="gateway: autoscaling.keda.scaleOn is queueLength, but this workload has no queue",
    ),
    "production-without-secret": Refusal(
        values={}, presets=("production",), reason="postgres: set exactly one of"
    ),
    "production-with-urls": Refusal(
        values={"postgres": {"url": "postgresql://h/d"}, "redis": {"url": "redis://h"}},
        presets=("production",),
        reason="production needs postgres.secret.name",
    ),
    "price-board-in-production": Refusal(
        values=SECRETS | {"orderWorker": {"config": {"VENUE_PRICE_BOARD": True}}},
        presets=("production",),
        reason="production needs config.VENUE_PRICE_BOARD to be false",
    ),
    "unused-url-beside-a-secret": Refusal(
        values={
            "postgres": {"secret": {"name": "pg"}, "chainUrl": "postgresql://h/c"},
            "redis": SECRETS["redis"],
        },
        reason="postgres.chainUrl needs postgres.url too",
    ),
    "unused-url-beside-a-development-store": Refusal(
        values=DEVELOPMENT | {"redis": {"pubsubUrl": "redis://h/0"}},
        reason="redis.pubsubUrl needs redis.url too",
    ),
    "unused-url-in-production": Refusal(
        values={
            "postgres": SECRETS["postgres"],
            "redis": {"secret": {"name": "rd"}, "queueUrl": "redis://h/0"},
        },
        presets=("production",),
        reason="redis.queueUrl needs redis.url too",
    ),
    "postgres-of-another-kind": Refusal(
        values={"postgres": {"url": "mysql://u:p@h/d"}, "redis": SECRETS["redis"]},
        reason="postgres.url must begin with postgresql://",
    ),
    "chain-of-another-kind": Refusal(
        values={
            "postgres": {"url": "postgresql://h/d", "chainUrl": "h/d"},
            "redis": SECRETS["redis"],
        },
        reason="postgres.chainUrl must begin with postgresql://",
    ),
    "redis-of-another-kind": Refusal(
        values={"postgres": SECRETS["postgres"], "redis": {"url": "http://h"}},
        reason="redis.url must begin with redis:// or rediss://",
    ),
    "production-with-development-stores": Refusal(
        values=DEVELOPMENT, presets=("production",), reason="production needs postgres.secret.name"
    ),
    "production-that-is-open": Refusal(
        values=SECRETS | {"auth": "open"}, presets=("production",), reason="production needs auth"
    ),
    "authority-without-tls": Refusal(
        values=SECRETS | {"redis": {"url": "redis://r", "tls": {"caSecret": "x"}}},
        reason="redis.tls.caSecret needs URLs that begin with rediss://",
    ),
    "dns-without-peers": Refusal(
        values=SECRETS | {"networkPolicy": {"dns": []}}, reason="networkPolicy.dns is empty"
    ),
    "port-of-none": Refusal(
        values={**SECRETS, "redis": {**SECRETS["redis"], "ports": [None]}}, reason="ports"
    ),
    "any-authority-for-any-name": Refusal(
        values={**SECRETS, "postgres": {**SECRETS["postgres"], "tls": {"mode": "verify-ca"}}},
        reason="postgres.tls.mode verify-ca needs postgres.tls.caSecret",
    ),
    "image-with-a-scheme": Refusal(
        values=SECRETS | {"defaults": {"image": {"registry": "https://r.example"}}},
        reason="registry",
    ),
    "tag-in-the-repository": Refusal(
        values=SECRETS | {"gateway": {"image": {"repository": "a/b:1"}}}, reason="repository"
    ),
    "digest-as-a-tag": Refusal(
        values=SECRETS | {"gateway": {"image": {"tag": f"sha256:{64 * '0'}"}}}, reason="tag"
    ),
    "pods-of-root": Refusal(
        values=SECRETS | {"defaults": {"podSecurityContext": {"runAsUser": 0}}}, reason="runAsUser"
    ),
    "dns-without-ports": Refusal(
        values=SECRETS | {"networkPolicy": {"dnsPorts": []}}, reason="dnsPorts"
    ),
    "word-that-is-not-a-boolean": Refusal(
        values=SECRETS | {"networkPolicy": {"enabled": "false"}}, reason="networkPolicy.enabled"
    ),
    "word-that-is-not-a-number": Refusal(
        values=SECRETS | {"gateway": {"service": {"port": "80"}}}, reason="gateway.service.port"
    ),
    "ingress-without-host": Refusal(
        values=SECRETS | {"ingress": {"enabled": True}}, reason="ingress.hosts is empty"
    ),
    "route-without-gateway": Refusal(
        values=SECRETS | {"httpRoute": {"enabled": True}}, reason="httpRoute.parentRefs is empty"
    ),
}
