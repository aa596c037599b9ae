"""How the findings of checkov are judged; `make check` runs checkov itself."""

import json

import pytest
import yaml

from tests.k8s.checkov import Finding, faults, parsed
from tests.k8s.rendering import MANIFESTS

LIMITS = Finding("CKV_K8S_11", "CPU limits should be set", "Deployment.trelay.system-api", "minimal.yaml")
DIGEST = Finding("CKV_K8S_43", "Image should use digest", "Deployment.trelay.system-api", "minimal.yaml")
ALLOWED = {"CKV_K8S_11": {"resources": ["Deployment.trelay.*"], "reason": "measured"}}


def test_what_no_exception_covers_is_a_fault() -> None:
    other = LIMITS._replace(resource="Job.trelay.migrate")
    assert list(faults([LIMITS], ALLOWED)) == []
    assert list(faults([LIMITS, DIGEST, other], ALLOWED)) == [
        "minimal.yaml: Deployment.trelay.system-api: CKV_K8S_43: Image should use digest",
        "minimal.yaml: Job.trelay.migrate: CKV_K8S_11: CPU limits should be set",
    ]


@pytest.mark.parametrize("reason", [None, "", " \n"], ids=["none", "empty", "blank"])
def test_an_exception_has_a_reason_and_is_needed(reason: str | None) -> None:
    exceptions = {"CKV_K8S_11": {"resources": ["Deployment.trelay.*", "Job.*"], "reason": reason}}
    assert list(faults([LIMITS], exceptions)) == [
        "CKV_K8S_11: the exception has no reason",
        "CKV_K8S_11: nothing needs the exception of Job.*",
    ]


def test_a_report_is_one_part_or_several() -> None:
    check = {
        "check_id": LIMITS.check,
        "check_name": LIMITS.name,
        "resource": LIMITS.resource,
        "file_path": "/minimal.yaml",
    }
    part = {"results": {"failed_checks": [check]}}
    assert parsed(json.dumps(part)) == [LIMITS]
    assert parsed(json.dumps([part, part])) == [LIMITS, LIMITS]


def test_the_exceptions_of_the_project_have_reasons() -> None:
    exceptions = yaml.safe_load((MANIFESTS / "checkov.yaml").read_text())
    assert [fault for fault in faults([], exceptions) if "no reason" in fault] == []
