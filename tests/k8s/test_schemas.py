"""Every object is valid by the strict schemas of Kubernetes, or of the custom resource that it is.

The schemas of custom resources are found in the folder `TRELAY_CRD_SCHEMAS`, as `<group>/<kind>_<version>.json`; a
folder `shared/k8s-schemas` beside the checkout, or beside a folder above it, is found without the variable.
"""

import copy
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema_rs
import kubernetes_validate
import pytest
from kubernetes_validate import utils

from tests.k8s.rendering import MANIFESTS, OVERLAYS, ROOT, components, of_kind, overlay, rendered, with_component

VERSIONS = ("1.34", "1.36")
"""Of Kubernetes: the oldest and the newest that are supported."""

# What has these groups is a custom resource.
CUSTOM = {
    "cert-manager.io", "external-secrets.io", "gateway.networking.k8s.io", "kafka.strimzi.io", "keda.sh",
    "monitoring.coreos.com", "postgresql.cnpg.io",
}  # fmt: skip


# It reads the definitions of all kinds for each object.
utils.schema_contents = cache(utils.schema_contents)


@cache
def _folder() -> Path | None:
    named = os.environ.get("TRELAY_CRD_SCHEMAS")
    folders = [Path(named)] if named else [above / "shared" / "k8s-schemas" for above in ROOT.parents]
    return next((folder for folder in folders if folder.is_dir()), None)


@cache
def _custom(path: Path) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(json.loads(path.read_text()))


def _fault(found: dict[str, Any], version: str) -> str | None:
    group, _, api = found["apiVersion"].rpartition("/")
    kind = found["kind"]
    try:
        if group not in CUSTOM:
            kubernetes_validate.validate(found, version, strict=True)
        elif (folder := _folder()) is not None:
            _custom(folder / group / f"{kind.lower()}_{api}.json").validate(found)
    except (jsonschema.ValidationError, jsonschema_rs.ValidationError, kubernetes_validate.SchemaNotFoundError) as exc:
        return f"{kind} {found['metadata']['name']}: {exc.message}"
    return None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", OVERLAYS)
def test_every_object_of_an_overlay_is_valid(name: str, version: str) -> None:
    found = overlay(name)
    assert len(found) > 15
    assert [fault for each in found if (fault := _fault(each, version))] == []


@pytest.mark.parametrize("component", components())
def test_every_object_of_a_component_is_valid(component: str, tmp_path: Path) -> None:
    base = rendered(MANIFESTS / "base")
    changed = [found for found in with_component(component, tmp_path) if found not in base]
    assert changed
    assert [fault for each in changed if (fault := _fault(each, VERSIONS[-1]))] == []


def test_the_schemas_are_strict() -> None:
    deployment = copy.deepcopy(of_kind(overlay("minimal"), "Deployment")["experience-api"])
    deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readonlyRootFilesystem"] = True
    fault = _fault(deployment, VERSIONS[-1])
    assert fault is not None
    assert "readonlyRootFilesystem" in fault


def test_custom_resources_are_checked_too() -> None:
    if _folder() is None:
        pytest.skip("no schemas of custom resources: name their folder with TRELAY_CRD_SCHEMAS")
    topic = copy.deepcopy(of_kind(overlay("production"), "KafkaTopic")["trelay.publish"])
    topic["spec"]["partitons"] = topic["spec"].pop("partitions")
    fault = _fault(topic, VERSIONS[-1])
    assert fault is not None
    assert "partitons" in fault
