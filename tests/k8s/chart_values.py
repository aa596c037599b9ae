"""Writes the values files with what the chart itself does not render of an overlay: `python -m tests.k8s.chart_values`.

These are the servers of `local`, and the resources of `production` that operators read.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from tests.k8s.helm import VALUES, chart
from tests.k8s.rendering import Object, overlay

OVERLAYS = ("local", "production")
_HASH = re.compile(r"^(.*-settings|kafka|trelay-database|trelay-tokens)-[a-z0-9]{10}$")
_LABELS = {"app.kubernetes.io/name", "app.kubernetes.io/part-of"}
"""Those that the chart gives every object."""


def values(name: str) -> list[str | Path]:
    """Return the arguments of helm for the values of an overlay that are written by hand."""
    return ["--values", VALUES / f"{name}.yaml"]


def objects_of(name: str) -> Path:
    """Return the path of the values file that is written for an overlay."""
    return VALUES / f"{name}-objects.yaml"


def unhash(value: Any) -> Any:
    """Return a value without the hashes that kustomize puts into the names of ConfigMaps and Secrets."""
    if isinstance(value, dict):
        return {key: unhash(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unhash(item) for item in value]
    return _HASH.sub(r"\1", value) if isinstance(value, str) else value


def identity(found: Object) -> tuple[str, str]:
    """Return what tells an object from the others of its namespace."""
    return found["kind"], found["metadata"]["name"]


def text(name: str) -> str:
    """Return the content of the values file of an overlay."""
    rendered = {identity(found) for found in chart(*values(name))}
    left = {}
    for each in overlay(name):
        found = unhash(each)
        if found["kind"] == "Namespace" or identity(found) in rendered:
            continue
        metadata = found["metadata"]
        del metadata["namespace"]
        metadata["labels"] = {key: label for key, label in metadata["labels"].items() if key not in _LABELS}
        if not metadata["labels"]:
            del metadata["labels"]
        left["/".join(identity(found))] = found
    written = yaml.safe_dump({"extraObjects": left}, sort_keys=False, width=10_000)
    return f"# Written by `python -m tests.k8s.chart_values`.\n{written}"


if __name__ == "__main__":
    for each in OVERLAYS:
        objects_of(each).write_text(text(each))
