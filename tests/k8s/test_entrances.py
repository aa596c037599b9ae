"""What the Ingress and the HTTPRoute let in is what the experience layer serves to clients, and the docs name it."""

import re
from typing import Any

import pytest
import yaml

from services.experience_api.api.operations import OPERATIONS
from shared.http.openapi.endpoints import HEALTH
from tests.k8s.rendering import MANIFESTS, ROOT

PUBLIC = {path for _, path in OPERATIONS.keys() - HEALTH.keys()}


def _manifest(name: str) -> Any:
    return yaml.safe_load((MANIFESTS / "components" / name / f"{name}.yaml").read_text())


def _of_the_ingress() -> list[str]:
    (rule,) = _manifest("ingress")["spec"]["rules"]
    return [entry["path"] for entry in rule["http"]["paths"]]


def _of_the_route() -> list[str]:
    rules = _manifest("http-route")["spec"]["rules"]
    assert all(len(rule["matches"]) <= 8 for rule in rules), "Gateway API 1.0 permits 8 matches in a rule"
    return [match["path"]["value"] for rule in rules for match in rule["matches"]]


def _of_the_docs() -> list[str]:
    text = (ROOT / "docs" / "behind-a-proxy.md").read_text()
    (sentence,) = re.findall(r"Paths of the experience layer:(.*?)\. ", text, re.DOTALL)
    return re.findall(r"`(/[^`]+)`", sentence)


@pytest.mark.parametrize("found", [_of_the_ingress, _of_the_route, _of_the_docs], ids=["ingress", "http-route", "docs"])
def test_every_public_path_is_let_in_and_no_other(found: Any) -> None:
    paths = found()
    assert len(paths) == len(set(paths))
    assert set(paths) == PUBLIC
