"""Writes the rules of Prometheus to each place that ships them: `python -m tests.monitoring.rules`."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.k8s.rendering import MANIFESTS, ROOT
from tests.monitoring.objectives import OBJECTIVES

FOLDER = ROOT / "deploy" / "prometheus"
_WRITTEN = "# Written by `python -m tests.monitoring.rules`"


@cache
def groups() -> list[dict[str, Any]]:
    """Return all groups of rules."""
    return [*_objectives(), *yaml.load((FOLDER / "alerts.yaml").read_text(), yaml.CSafeLoader)["groups"]]


def rules() -> list[dict[str, Any]]:
    """Return all rules."""
    return [rule for group in groups() for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Return the rules that alert."""
    return [rule for rule in rules() if "alert" in rule]


@cache
def files() -> dict[Path, str]:
    """Return the content of each file."""
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "trelay"},
        "spec": {"groups": groups()},
    }
    return {
        FOLDER / "objectives.yaml": f"{_WRITTEN} from tests/monitoring/objectives.py.\n{_dump(_objectives())}",
        MANIFESTS / "components" / "prometheus-rules" / "prometheus-rules.yaml": f"{_WRITTEN}.\n{_yaml(resource)}",
        ROOT / "deploy" / "helm" / "trelay" / "files" / "rules.yaml": f"{_WRITTEN}.\n{_dump(groups())}",
    }


def _objectives() -> list[dict[str, Any]]:
    return [objective.group() for objective in OBJECTIVES]


def _dump(found: list[dict[str, Any]]) -> str:
    return _yaml({"groups": found})


def _yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, width=10_000))


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
