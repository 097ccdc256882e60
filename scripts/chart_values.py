"""Writes the chart's values.schema.json and defaults.json, and the table of values in its README.

    python scripts/chart_values.py          # writes the files that have changed
    python scripts/chart_values.py --check  # exits with 1 when a file would change

The keys of values.yaml are allowed, and no others. Each may be null: Helm then removes its default,
and the templates put it back from defaults.json. The comment above a key is its description, and
its default gives its type, unless chart_bounds.py has a schema for it. The schema of `config` comes
from the settings model of the deployable.
"""

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from chart_bounds import BOUNDS, GROUPS, STRING_MAP, Schema

from order_engine.execution import settings

CHART = Path(__file__).parents[1] / "charts/order-engine"
VALUES, SCHEMA, README = CHART / "values.yaml", CHART / "values.schema.json", CHART / "README.md"
DEFAULTS = CHART / "defaults.json"
TABLE_BEGIN = "<!-- values: written by scripts/chart_values.py -->\n"
TABLE_END = "<!-- /values -->\n"

Path_ = tuple[str, ...]

# Settings that other values, or the image, set.
SET_BY_THE_CHART = {
    "admin_port",
    "auth",
    "chain_database_url",
    "cors_origins",
    "database_url",
    "drain_s",
    "port",
    "redis_host",
    "redis_port",
    "redis_pubsub_url",
    "redis_queue_url",
    "redis_url",
    "trusted_proxies",
}
# Values of `defaults` that a Job does not have.
OF_A_DEPLOYMENT = {
    "autoscaling",
    "podDisruptionBudget",
    "preStopSleepSeconds",
    "replicas",
    "terminationGracePeriodSeconds",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A key of values.yaml, or of a map in it."""

    path: Path_
    comment: str
    default: Any


def read_values() -> list[Value]:
    """All keys; a map before its keys."""
    text = VALUES.read_text()
    lines = text.splitlines()

    def walk(node: yaml.MappingNode, defaults: Mapping[str, Any], path: Path_) -> Iterator[Value]:
        for key, inner in node.value:
            default = defaults[key.value]
            yield Value(
                path=(*path, key.value),
                comment=_comment_above(lines, key.start_mark),
                default=default,
            )
            if isinstance(inner, yaml.MappingNode) and default:
                yield from walk(inner, default, (*path, key.value))

    document = cast(yaml.MappingNode, yaml.compose(text, yaml.SafeLoader))
    return list(walk(document, yaml.safe_load(text), ()))


def _comment_above(lines: list[str], key: yaml.Mark) -> str:
    """The comment directly above a key, with the same indentation."""
    begin = " " * key.column + "# "
    if lines[key.line][: key.column].strip():
        return ""  # not the first key on its line
    first = key.line
    while first and lines[first - 1].startswith(begin):
        first -= 1
    return " ".join(line.removeprefix(begin) for line in lines[first : key.line])


def values_schema() -> Schema:
    comments = {value.path: value.comment for value in read_values()}
    values = yaml.safe_load(VALUES.read_text())
    schema: Schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart order-engine",
        "description": "Written by scripts/chart_values.py",
        **_schema((), values, comments),
    }
    groups = schema["properties"]
    layer = groups["defaults"]["properties"]
    schema["definitions"] = {key: layer[key] for key in layer if key != "config"}
    for group, model in GROUPS.items():
        groups[group]["properties"]["config"] = _config(model)
        if group != "defaults":
            _inherit(groups[group], layer if group != "migration" else _of_a_job(layer))
    dispatcher = groups["statusDispatcher"]
    for status in dispatcher["properties"]["statuses"]["properties"].values():
        _inherit(status, layer)
        status["properties"]["config"] = dispatcher["properties"]["config"]
    groups["global"] = _nullable({"type": "object", "description": "Of a parent chart"})
    return schema


def _schema(path: Path_, default: Any, comments: Mapping[Path_, str]) -> Schema:
    schema = _bounds(path)
    if schema is None and isinstance(default, dict) and default:
        schema = _strict(
            {key: _schema((*path, key), inner, comments) for key, inner in default.items()}
        )
    if schema is None:
        schema = _type(path, default)
    schema = _nullable(schema) if path else schema
    return {**schema, "description": comments[path]} if comments.get(path) else schema


def _strict(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _nullable(schema: Schema) -> Schema:
    """The same schema, and null."""
    accepted = dict(schema)
    if kinds := schema.get("type"):
        accepted["type"] = sorted({"null", *([kinds] if isinstance(kinds, str) else kinds)})
    if "enum" in schema:
        accepted["enum"] = [*schema["enum"], None]
    if "oneOf" in schema:
        accepted["oneOf"] = [*schema["oneOf"], {"type": "null"}]
    return accepted


def _of_a_job(layer: Schema) -> Schema:
    return {key: layer[key] for key in layer if key not in OF_A_DEPLOYMENT}


def _inherit(workload: Schema, layer: Schema) -> None:
    """Lets a group, or an item of it, override every value of `defaults`."""
    own = workload["properties"]
    inherited = {key: {"$ref": f"#/definitions/{key}"} for key in layer if key != "config"}
    image = {
        key: {"$ref": f"#/definitions/image/properties/{key}"}
        for key in layer["image"]["properties"]
    }
    own_image = own.get("image") or _nullable(_strict({"repository": BOUNDS["image.repository"]}))
    workload["properties"] = own | inherited
    workload["properties"]["image"] = {**own_image, "properties": own_image["properties"] | image}


def _bounds(path: Path_) -> Schema | None:
    ends = (".".join(path[first:]) for first in range(len(path)))
    return next((BOUNDS[end] for end in ends if end in BOUNDS), None)


def _type(path: Path_, default: Any) -> Schema:
    match default:
        case bool():
            return {"type": "boolean"}
        case str():
            return {"type": "string"}
        case {}:
            return STRING_MAP
    raise TypeError(f"{default!r} does not show the type of {'.'.join(path)}: add it to BOUNDS")


def _config(model: type[settings.CommonSettings]) -> Schema:
    """The settings of a deployable, by the names of their variables."""
    fields = model.model_json_schema(by_alias=False)["properties"]
    properties = {
        name.upper(): _setting(field)
        for name, field in sorted(fields.items())
        if name not in SET_BY_THE_CHART
    }
    return _nullable(_strict(properties))


def _setting(field: Schema) -> Schema:
    if "anyOf" in field:  # optional
        (kind,) = (kind for kind in field["anyOf"] if kind != {"type": "null"})
        field = {**field, **kind}
    return _nullable({key: part for key, part in field.items() if key not in ("title", "anyOf")})


def table() -> str:
    """The values as a table in Markdown."""
    rows = ["| value | default | |", "| --- | --- | --- |"]
    for value in read_values():
        is_map = isinstance(value.default, dict) and value.default
        if is_map and not value.comment:
            continue
        default = "" if is_map else f"`{json.dumps(value.default, ensure_ascii=False)}`"
        rows.append(f"| `{'.'.join(value.path)}` | {default} | {value.comment} |")
    return "\n".join(row.replace("|  |", "| |") for row in rows) + "\n"


def outputs() -> dict[Path, str]:
    """The content of each generated file."""
    schema = json.dumps(values_schema(), indent=2, ensure_ascii=False) + "\n"
    defaults = json.dumps(yaml.safe_load(VALUES.read_text()), indent=2, ensure_ascii=False) + "\n"
    begin, end = map(re.escape, (TABLE_BEGIN, TABLE_END))
    readme = re.sub(
        f"(?<={begin}).*(?={end})",
        lambda _: f"\n{table()}\n",
        README.read_text(),
        flags=re.DOTALL,
    )
    return {SCHEMA: schema, DEFAULTS: defaults, README: readme}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    changed = [
        path for path, text in outputs().items() if not path.exists() or path.read_text() != text
    ]
    for path in changed:
        print(f"{'would change' if check else 'writes'} {path}")
        if not check:
            path.write_text(outputs()[path])
    if check and changed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
