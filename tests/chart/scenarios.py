"""Values that the chart has to render, and values that it has to refuse."""

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
    says: str
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
    "nothing-given": Refusal(values={}, says="postgres: give exactly one of"),
    "two-sources-of-a-url": Refusal(
        values=SECRETS | {"redis": {"url": "redis://r/0", "secret": {"name": "rd"}}},
        says="redis: give exactly one of",
    ),
    "name-that-no-service-can-have": Refusal(
        values=SECRETS | {"fullnameOverride": "My_Name"}, says="fullnameOverride"
    ),
    "release-with-a-dot": Refusal(
        values=SECRETS,
        release="a.b",
        says="a.b-order-engine cannot begin the names of Services: give fullnameOverride",
    ),
    "release-that-begins-with-a-digit": Refusal(
        values=SECRETS,
        release="1engine",
        says="1engine-order-engine cannot begin the names of Services: give fullnameOverride",
    ),
    "misspelt-key": Refusal(values=SECRETS | {"orderWorkers": {}}, says="orderWorkers"),
    "misspelt-key-of-a-group": Refusal(
        values=SECRETS | {"orderWorker": {"replica": 2}}, says="replica"
    ),
    "misspelt-key-of-a-status": Refusal(
        values=SECRETS | {"statusDispatcher": {"statuses": {"failed": {"replica": 2}}}},
        says="replica",
    ),
    "replicas-of-a-job": Refusal(values=SECRETS | {"migration": {"replicas": 2}}, says="replicas"),
    "misspelt-setting": Refusal(
        values=SECRETS | {"orderWorker": {"config": {"QUEUE_CONCURRENCY": 2}}},
        says="QUEUE_CONCURRENCY",
    ),
    "setting-of-another-deployable": Refusal(
        values=SECRETS | {"gateway": {"config": {"WS_PING_S": 2}}}, says="WS_PING_S"
    ),
    "setting-out-of-bounds": Refusal(
        values=SECRETS | {"orderWorker": {"config": {"QUEUE_MAX_CONCURRENCY": 0}}},
        says="QUEUE_MAX_CONCURRENCY",
    ),
    "setting-that-the-chart-counts-with-taken-away": Refusal(
        values=SECRETS
        | {
            "orderWorker": {
                "config": {"QUEUE_RATE_LIMIT_PER_MINUTE": None},
                **scaled_by("keda", scaleOn="queueLength"),
            }
        },
        says="QUEUE_RATE_LIMIT_PER_MINUTE",
    ),
    "slots-taken-away": Refusal(
        values=SECRETS | {"statusDispatcher": {"config": {"WS_WORKER_CONCURRENCY": None}}},
        says="WS_WORKER_CONCURRENCY",
    ),
    "config-taken-away": Refusal(values=SECRETS | {"orderWorker": {"config": None}}, says="config"),
    "entry-of-an-earlier-layer-taken-away": Refusal(
        values=SECRETS
        | {
            "defaults": {"nodeSelector": {"disk": "fast"}},
            "gateway": {"nodeSelector": {"disk": None}},
        },
        says="disk",
    ),
    "bound-of-an-earlier-layer-taken-away": Refusal(
        values=SECRETS | {"gateway": {"resources": {"limits": {"memory": None}}}}, says="memory"
    ),
    "replicas-taken-away": Refusal(
        values=SECRETS | {"defaults": {"replicas": None}}, says="replicas"
    ),
    "map-taken-away": Refusal(values=SECRETS | {"networkPolicy": None}, says="networkPolicy"),
    "service-taken-away": Refusal(values=SECRETS | {"gateway": {"service": None}}, says="service"),
    "ingress-for-no-controller": Refusal(
        values=SECRETS
        | {"ingress": {"enabled": True, "hosts": ["orders.example"], "controller": None}},
        says="controller",
    ),
    "alerts-without-runbook": Refusal(
        values=SECRETS | {"monitoring": {"rules": True, "runbookUrl": None}}, says="runbookUrl"
    ),
    "ingress-for-a-host-without-name": Refusal(
        values=SECRETS | {"ingress": {"enabled": True, "hosts": [""]}}, says="hosts"
    ),
    "setting-past-its-place": Refusal(
        values=SECRETS | {"gateway": {"extraEnv": [{"name": "AUTH", "value": "open"}]}},
        says="extraEnv",
    ),
    "setting-past-its-place-in-small-letters": Refusal(
        values=SECRETS | {"gateway": {"extraEnv": [{"name": "auth", "value": "open"}]}},
        presets=("production",),
        says="extraEnv",
    ),
    "pods-that-no-selector-knows": Refusal(
        values=SECRETS | {"defaults": {"podLabels": {"app.kubernetes.io/component": "mine"}}},
        says="app.kubernetes.io/component",
    ),
    "monitors-of-another-release": Refusal(
        values=SECRETS | {"monitoring": {"labels": {"app.kubernetes.io/instance": "other"}}},
        says="app.kubernetes.io/instance",
    ),
    "budget-that-blocks-a-drain": Refusal(
        values=SECRETS | {"gateway": {"podDisruptionBudget": {"maxUnavailable": 0}}},
        says="maxUnavailable",
    ),
    "missing-status": Refusal(
        values=SECRETS | {"statusDispatcher": {"statuses": {"failed": None}}},
        says="must be exactly the statuses of an order",
    ),
    "unknown-status": Refusal(
        values=SECRETS | {"statusDispatcher": {"statuses": {"lost": {}}}}, says="lost"
    ),
    "drain-beyond-the-grace-period": Refusal(
        values=SECRETS | {"orderWorker": {"drainSeconds": 26, "terminationGracePeriodSeconds": 30}},
        says="order-worker: terminationGracePeriodSeconds is 30, but leaving takes up to 31 s"
        " (preStopSleepSeconds 0, drainSeconds 26, and 5 to end)",
    ),
    "sleep-beyond-the-grace-period": Refusal(
        values=SECRETS
        | {"wsGateway": {"preStopSleepSeconds": 6, "terminationGracePeriodSeconds": 40}},
        says="ws-gateway: terminationGracePeriodSeconds is 40, but leaving takes up to 41 s"
        " (preStopSleepSeconds 6, drainSeconds 20, and 15 to end)",
    ),
    "drain-shorter-than-the-longest-job": Refusal(
        values=SECRETS | {"orderWorker": {"drainSeconds": 4}},
        says="order-worker: of drainSeconds 4 orders in hand get 3.2 s, but one may take 3.35 s",
    ),
    "job-longer-than-the-drain": Refusal(
        values=SECRETS | {"orderWorker": {"config": {"VENUE_EXECUTION_MAX_S": 60}}},
        says="order-worker: of drainSeconds 20 orders in hand get 16 s, but one may take 60.35 s",
    ),
    "job-of-unknown-length": Refusal(
        values=SECRETS | {"orderWorker": {"config": {"VENUE_EXECUTION_MAX_S": None}}},
        says="VENUE_EXECUTION_MAX_S",
    ),
    "door-without-time-for-its-requests": Refusal(
        values=SECRETS | {"gateway": {"drainSeconds": 0, "terminationGracePeriodSeconds": 15}},
        says="gateway: terminationGracePeriodSeconds is 15, but leaving takes up to 20 s",
    ),
    "two-autoscalers": Refusal(
        values=SECRETS
        | {"gateway": {"autoscaling": {"hpa": {"enabled": True}, "keda": {"enabled": True}}}},
        says="gateway: autoscaling.hpa and autoscaling.keda are both enabled",
    ),
    "two-autoscalers-from-two-layers": Refusal(
        values=SECRETS
        | {
            "defaults": scaled_by("hpa"),
            "statusDispatcher": {"statuses": {"failed": scaled_by("keda")}},
        },
        says="status-dispatcher-failed: autoscaling.hpa and autoscaling.keda are both enabled",
    ),
    "minimum-above-maximum": Refusal(
        values=SECRETS | {"gateway": {"autoscaling": {"minReplicas": 9}}},
        says="minReplicas is above maxReplicas",
    ),
    "no-minimum": Refusal(
        values=SECRETS | {"orderWorker": {"autoscaling": {"minReplicas": 0}}}, says="minReplicas"
    ),
    "no-order-worker": Refusal(
        values=SECRETS | {"orderWorker": {"replicas": 0}},
        says="order-worker: replicas is 0, but one is needed at any time",
    ),
    "no-dispatchers": Refusal(
        values=SECRETS | {"statusDispatcher": {"replicas": 0}},
        says="replicas is 0, but one is needed at any time",
    ),
    "status-without-a-dispatcher": Refusal(
        values=SECRETS | {"statusDispatcher": {"statuses": {"failed": {"replicas": 0}}}},
        says="status-dispatcher-failed: replicas is 0, but one is needed at any time",
    ),
    "cpu-target-without-request": Refusal(
        values=SECRETS
        | {
            "defaults": {"resources": {"requests": {"cpu": None}}},
            "gateway": scaled_by("hpa"),
        },
        says="gateway: autoscaling.hpa needs resources.requests.cpu",
    ),
    "rate-limit-and-plain-queue-length": Refusal(
        values=SECRETS | {"orderWorker": scaled_by("keda", scaleOn="queueLength")},
        says="order-worker: scaling on plain queue length meets a rate limit",
    ),
    "rate-limit-and-length-of-a-redis-list": Refusal(
        values=SECRETS
        | {"statusDispatcher": scaled_by("keda", triggers=[{"type": "redis", "metadata": {}}])},
        says="scaling on plain queue length meets a rate limit",
    ),
    "queue-length-of-a-door": Refusal(
        values=SECRETS | {"gateway": scaled_by("keda", scaleOn="queueLength")},
        says="gateway: autoscaling.keda.scaleOn is queueLength, but it has no queue",
    ),
    "door-scaled-by-no-figure": Refusal(
        values=SECRETS | {"gateway": scaled_by("keda", perReplica=None)},
        says="gateway: autoscaling.keda.perReplica is null, but no setting says",
    ),
    "production-without-secret": Refusal(
        values={}, presets=("production",), says="postgres: give exactly one of"
    ),
    "production-with-urls": Refusal(
        values={"postgres": {"url": "postgresql://h/d"}, "redis": {"url": "redis://h"}},
        presets=("production",),
        says="production needs postgres.secret.name",
    ),
    "url-that-nobody-reads-next-to-a-secret": Refusal(
        values={
            "postgres": {"secret": {"name": "pg"}, "chainUrl": "postgresql://h/c"},
            "redis": SECRETS["redis"],
        },
        says="postgres.chainUrl is given without postgres.url, so nobody would read it",
    ),
    "url-that-nobody-reads-next-to-a-development-store": Refusal(
        values=DEVELOPMENT | {"redis": {"pubsubUrl": "redis://h/0"}},
        says="redis.pubsubUrl is given without redis.url, so nobody would read it",
    ),
    "url-that-nobody-reads-in-production": Refusal(
        values={
            "postgres": SECRETS["postgres"],
            "redis": {"secret": {"name": "rd"}, "queueUrl": "redis://h/0"},
        },
        presets=("production",),
        says="redis.queueUrl is given without redis.url, so nobody would read it",
    ),
    "postgres-of-another-kind": Refusal(
        values={"postgres": {"url": "mysql://u:p@h/d"}, "redis": SECRETS["redis"]},
        says="postgres.url must begin with postgresql://",
    ),
    "chain-of-another-kind": Refusal(
        values={
            "postgres": {"url": "postgresql://h/d", "chainUrl": "h/d"},
            "redis": SECRETS["redis"],
        },
        says="postgres.chainUrl must begin with postgresql://",
    ),
    "redis-of-another-kind": Refusal(
        values={"postgres": SECRETS["postgres"], "redis": {"url": "http://h"}},
        says="redis.url must begin with redis:// or rediss://",
    ),
    "production-with-development-stores": Refusal(
        values=DEVELOPMENT, presets=("production",), says="production needs postgres.secret.name"
    ),
    "production-that-is-open": Refusal(
        values=SECRETS | {"auth": "open"}, presets=("production",), says="production needs auth"
    ),
    "authority-without-tls": Refusal(
        values=SECRETS | {"redis": {"url": "redis://r", "tls": {"caSecret": "x"}}},
        says="redis.tls.caSecret needs URLs that begin with rediss://",
    ),
    "dns-of-nobody": Refusal(
        values=SECRETS | {"networkPolicy": {"dns": []}}, says="networkPolicy.dns is empty"
    ),
    "dns-taken-away": Refusal(
        values=SECRETS | {"networkPolicy": {"dns": None}}, says="dns is required"
    ),
    "port-of-none": Refusal(
        values={**SECRETS, "redis": {**SECRETS["redis"], "ports": [None]}}, says="ports"
    ),
    "any-authority-for-any-name": Refusal(
        values={**SECRETS, "postgres": {**SECRETS["postgres"], "tls": {"mode": "verify-ca"}}},
        says="postgres.tls.mode verify-ca needs postgres.tls.caSecret",
    ),
    "ingress-without-host": Refusal(
        values=SECRETS | {"ingress": {"enabled": True}}, says="ingress.hosts is empty"
    ),
    "route-without-gateway": Refusal(
        values=SECRETS | {"httpRoute": {"enabled": True}}, says="httpRoute.parentRefs is empty"
    ),
}
