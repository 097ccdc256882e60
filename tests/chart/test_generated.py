"""The files generated from values.yaml and the settings are up to date."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from order_engine.execution.settings import OrderWorkerSettings
from support.helm import CHART

SCRIPT = Path(__file__).parents[2] / "scripts/chart_values.py"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def test_generated_files_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--check"], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, f"run scripts/chart_values.py: {done.stdout}{done.stderr}"


def test_the_schema_is_valid() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_the_values_match_their_schema() -> None:
    jsonschema.validate(yaml.safe_load((CHART / "values.yaml").read_text()), SCHEMA)


@pytest.mark.parametrize("preset", ["dev", "production", "openshift"])
def test_the_values_of_a_preset_match_the_schema(preset: str) -> None:
    jsonschema.validate(yaml.safe_load((CHART / f"values-{preset}.yaml").read_text()), SCHEMA)


def test_settings_in_the_schema_have_the_bounds_of_the_model() -> None:
    config = SCHEMA["properties"]["orderWorker"]["properties"]["config"]["properties"]
    model = OrderWorkerSettings.model_json_schema()["properties"]["queue_rate_limit_per_minute"]

    limit = config["QUEUE_RATE_LIMIT_PER_MINUTE"]

    assert (limit["type"], limit["minimum"], limit["maximum"]) == (
        ["integer", "null"],
        model["minimum"],
        model["maximum"],
    )
    assert limit["description"] == model["description"]


def test_the_values_do_not_take_settings_that_the_chart_sets() -> None:
    for group in ("gateway", "orderWorker", "statusDispatcher", "wsGateway", "migration"):
        config = SCHEMA["properties"][group]["properties"]["config"]["properties"]

        assert not config.keys() & {"DATABASE_URL", "REDIS_URL", "DRAIN_S", "AUTH", "ADMIN_PORT"}


def test_the_migration_takes_only_values_that_apply_to_a_job() -> None:
    defaults, migration = (
        SCHEMA["properties"][group]["properties"].keys() for group in ("defaults", "migration")
    )

    assert defaults - migration == {
        "replicas",
        "autoscaling",
        "podDisruptionBudget",
        "preStopSleepSeconds",
        "terminationGracePeriodSeconds",
    }


def test_every_object_of_the_schema_is_strict() -> None:
    """Objects with listed properties accept no others; objects of Kubernetes are not listed."""

    def lax(schema: object, path: str) -> list[str]:
        if isinstance(schema, list):
            return [found for part in schema for found in lax(part, path)]
        if not isinstance(schema, dict):
            return []
        own = [path] if "properties" in schema and "additionalProperties" not in schema else []
        return own + [found for key, part in schema.items() for found in lax(part, f"{path}/{key}")]

    assert lax(SCHEMA, "") == []
