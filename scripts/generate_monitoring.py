"""Writes the chart's dashboards and alerts from scripts/monitoring; --check only compares them."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from monitoring import rule
from monitoring.alerts import GROUPS
from monitoring.dashboards import DASHBOARDS
from monitoring.grafana import document

CHART = Path(__file__).parents[1] / "charts/order-engine"


def generated() -> Mapping[Path, str]:
    """The content of each generated file."""
    return {
        **{CHART / f"dashboards/{each.name}.json": document(each) for each in DASHBOARDS},
        CHART / "alerts/order-engine.yaml": "# Written by scripts/generate_monitoring.py\n"
        + rule.document(GROUPS),
    }


def strangers(files: Mapping[Path, str]) -> list[Path]:
    """Files beside the generated ones that nothing generates."""
    found = [*CHART.glob("dashboards/*"), *CHART.glob("alerts/*")]
    return [path for path in found if path not in files]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where files differ")
    check = parser.parse_args().check
    files = generated()
    stale = [
        path for path, text in files.items() if not path.exists() or path.read_text() != text
    ] + strangers(files)
    for path in stale:
        print(f"{'differs' if check else 'written'}: {path.relative_to(CHART)}")
        if check:
            continue
        if path not in files:
            path.unlink()
            continue
        path.parent.mkdir(exist_ok=True)
        path.write_text(files[path])
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
