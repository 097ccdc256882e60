"""JSON Schema of values whose defaults do not show what is accepted."""

from collections.abc import Mapping
from typing import Any

from order_engine.execution.deployables import DEPLOYABLES
from order_engine.execution.settings import CommonSettings

Schema = dict[str, Any]

# The groups of values that have a `config`, and the settings allowed there.
GROUPS: Mapping[str, type[CommonSettings]] = {
    "defaults": CommonSettings,
    **{deployable.values: deployable.settings for deployable in DEPLOYABLES},
}

SETTINGS = sorted({name.upper() for model in GROUPS.values() for name in model.model_fields})

OBJECTS: Schema = {"type": "array", "items": {"type": "object"}}
STRINGS: Schema = {"type": "array", "items": {"type": "string", "minLength": 1}}
# the chart makes strings of them
STRING_MAP: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}
# the chart sets the other labels, and selects by some of them
OWN_LABELS: Schema = STRING_MAP | {
    "propertyNames": {"not": {"pattern": r"^(app\.kubernetes\.io|helm\.sh)/"}}
}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
ANY_OBJECT: Schema = {"type": "object"}
QUANTITIES: Schema = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
SECONDS: Schema = {"type": "integer", "minimum": 0, "maximum": 3600}
# null or "" leaves it to the cluster
ACCOUNT_ID: Schema = {"type": ["integer", "string", "null"], "minimum": 0, "maxLength": 0}


def one_of(*words: str) -> Schema:
    return {"enum": list(words)}


def whole(minimum: int, maximum: int | None = None) -> Schema:
    bounds = {"minimum": minimum} | ({} if maximum is None else {"maximum": maximum})
    return {"type": "integer", **bounds}


def strings(pattern: str) -> Schema:
    return {"type": "array", "items": {"type": "string", "pattern": pattern}}


# As `order_engine.execution.setting_lists` reads them; the settings check the rest.
OCTET = "(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
IPV4 = rf"{OCTET}(\.{OCTET}){{3}}(/(3[0-2]|[12]?[0-9]))?"
IPV6 = r"\[?[0-9a-fA-F:]*:[0-9a-fA-F:.]*\]?(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?"
LABEL = "[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?"
ORIGIN = (
    rf"[a-zA-Z][a-zA-Z0-9+.-]*://({LABEL}(\.{LABEL})*\.?|\[[0-9a-fA-F:.]+\])(:[1-9][0-9]{{0,4}})?/?"
)

# By the whole path, or by its last parts.
BOUNDS: Mapping[str, Schema] = {
    # as in the name of a Service
    "fullnameOverride": {"type": "string", "pattern": "^([a-z]([-a-z0-9]*[a-z0-9])?)?$"},
    "auth": one_of("keys", "open"),
    "trustedProxies": strings(rf"^(\*|localhost|{IPV4}|{IPV6})$"),
    "corsOrigins": strings(rf"^(\*|null|{ORIGIN})$"),
    "tls.mode": one_of("", "require", "verify-ca", "verify-full"),
    "port": PORT,
    "ports": {"type": "array", "items": PORT},
    "storage": {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?[KMGT]i?)?$"},
    "resources": {
        "type": "object",
        "properties": {"requests": QUANTITIES, "limits": QUANTITIES},
        "additionalProperties": False,
    },
    "config": ANY_OBJECT,  # of each group: from its settings
    "replicas": {"oneOf": [whole(0, 1000), one_of("")]},
    "image.registry": {"type": "string", "pattern": r"^\s*[^:\s]*(:[0-9]+(/[^:\s]*)?)?\s*$"},
    "image.repository": {"type": "string", "pattern": r"^[^:@\s]+(:[0-9]+/[^:@\s]+)?$"},
    "image.tag": {
        "type": ["string", "number"],
        "pattern": "^(:?[A-Za-z0-9_][A-Za-z0-9_.-]*(@sha256:[0-9a-f]{64})?)?$",
    },
    "image.digest": {"type": "string", "pattern": "^(@?sha256:[0-9a-f]{64})?$"},
    "image.pullPolicy": one_of("Always", "IfNotPresent", "Never"),
    "imagePullSecrets": {
        "type": "array",
        "items": {"type": ["object", "string"], "minLength": 1},
    },
    "podSecurityContext": {
        "type": "object",
        "properties": {
            "runAsUser": ACCOUNT_ID | {"minimum": 1},
            "runAsGroup": ACCOUNT_ID,
            "fsGroup": ACCOUNT_ID,
            "supplementalGroups": {"type": "array", "items": {"type": "integer"}},
            "seLinuxOptions": ANY_OBJECT,
        },
        "additionalProperties": False,
    },
    "drainSeconds": SECONDS,
    "preStopSleepSeconds": SECONDS,
    "terminationGracePeriodSeconds": {"type": ["integer", "null"], "minimum": 1, "maximum": 3600},
    "withinSeconds": whole(1, 86400),
    "extraEnv": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                # settings of the engine belong to `config`, where they are checked; the engine
                # reads its variables in lower case too
                "name": {"type": "string", "not": {"pattern": f"^(?i:{'|'.join(SETTINGS)})$"}},
                "value": {"type": ["string", "number", "boolean"]},
                "valueFrom": ANY_OBJECT,
            },
            "additionalProperties": False,
        },
    },
    "minReplicas": whole(1, 1000),
    "maxReplicas": whole(1, 1000),
    "behavior": ANY_OBJECT,
    "hpa.cpuPercent": whole(1, 1000),
    "hpa.metrics": OBJECTS,
    "keda.scaleOn": one_of("demand", "queueLength"),
    "keda.perReplica": {"type": ["number", "null"], "exclusiveMinimum": 0},
    "keda.orderSeconds": {"type": "number", "exclusiveMinimum": 0},
    "keda.triggers": OBJECTS,
    # a percentage is rounded up, so it is at least one pod
    "podDisruptionBudget.maxUnavailable": {
        "oneOf": [whole(1), {"type": "string", "pattern": "^[1-9][0-9]?%$|^100%$"}]
    },
    "podLabels": OWN_LABELS,
    "monitoring.labels": OWN_LABELS,
    "affinity": ANY_OBJECT,
    "tolerations": OBJECTS,
    "topologySpreadConstraints": OBJECTS,
    "priority": whole(0, 1000),
    "service.type": one_of("ClusterIP", "NodePort", "LoadBalancer"),
    "priorityClasses.base": whole(1000, 1_000_000_000),
    "priorityClasses.preemptionPolicy": one_of("Never", "PreemptLowerPriority"),
    "networkPolicy.clients": OBJECTS,
    "networkPolicy.scrapers": OBJECTS,
    "networkPolicy.dns": OBJECTS,
    "networkPolicy.dnsPorts": {"type": "array", "items": PORT, "minItems": 1},
    "networkPolicy.postgres": OBJECTS,
    "networkPolicy.redis": OBJECTS,
    "interval": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$"},
    "ingress.controller": one_of("nginx", "traefik", "alb"),
    "ingress.hosts": STRINGS,
    "ingress.tls": OBJECTS,
    "httpRoute.streams": one_of("upgrade", "path"),
    "httpRoute.parentRefs": OBJECTS,
    "httpRoute.hostnames": STRINGS,
}
