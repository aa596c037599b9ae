"""Every pod of every overlay passes the checks of Pod Security "restricted", and each check finds what it is for."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.k8s.pod_security import CHECKS, containers, violations
from tests.k8s.rendering import OVERLAYS, components, of_kind, overlay, pods, with_component

Object = dict[str, Any]


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_pod_is_restricted(name: str) -> None:
    found = pods(overlay(name))
    assert len(found) >= 3
    assert {workload: violations(pod) for workload, pod in found.items() if violations(pod)} == {}


@pytest.mark.parametrize("component", components())
def test_every_pod_with_a_component_is_restricted(component: str, tmp_path: Path) -> None:
    found = pods(with_component(component, tmp_path))
    assert {workload: violations(pod) for workload, pod in found.items() if violations(pod)} == {}


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_are_hardened_beyond_restricted(name: str) -> None:
    for pod in pods(overlay(name)).values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        for container in containers(pod):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]
            assert "latest" not in container["image"]
            assert not any("secretKeyRef" in (env.get("valueFrom") or {}) for env in container.get("env") or ())


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_namespace_enforces_restricted(name: str) -> None:
    labels = of_kind(overlay(name), "Namespace")["trelay"]["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {"restricted"}


def _spec(**fields: Any) -> Callable[[Object], None]:
    return lambda pod: pod["spec"].update(fields)


def _container(**fields: Any) -> Callable[[Object], None]:
    return lambda pod: pod["spec"]["containers"][0].update(fields)


def _context(**fields: Any) -> Callable[[Object], None]:
    return lambda pod: pod["spec"]["containers"][0]["securityContext"].update(fields)


def _init_container(pod: Object) -> None:
    pod["spec"]["initContainers"] = [{"name": "init", "image": "i", "securityContext": {}}]


BAD: list[tuple[str, Callable[[Object], None]]] = [
    ("privileged", _context(privileged=True)),
    ("hostNamespaces", _spec(hostNetwork=True)),
    ("hostNamespaces", _spec(hostPID=True)),
    ("hostPathVolumes", _spec(volumes=[{"name": "v", "hostPath": {"path": "/"}}])),
    ("hostPorts", _container(ports=[{"containerPort": 1, "hostPort": 1}])),
    ("hostProbesAndHostLifecycle", _container(livenessProbe={"httpGet": {"host": "192.0.2.1", "port": 1}})),
    ("hostProbesAndHostLifecycle", _container(lifecycle={"preStop": {"tcpSocket": {"host": "h", "port": 1}}})),
    ("capabilities_baseline", _context(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]})),
    ("capabilities_restricted: add", _context(capabilities={"drop": ["ALL"], "add": ["CHOWN"]})),
    ("capabilities_restricted: drop", _context(capabilities={"drop": ["CHOWN"]})),
    ("seLinuxOptions", _context(seLinuxOptions={"type": "spc_t"})),
    ("seLinuxOptions", _context(seLinuxOptions={"user": "root"})),
    ("appArmorProfile", _context(appArmorProfile={"type": "Unconfined"})),
    ("procMount", _context(procMount="Unmasked")),
    ("sysctls", _spec(securityContext={"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]})),
    ("windowsHostProcess", _context(windowsOptions={"hostProcess": True})),
    ("seccompProfile_baseline", _context(seccompProfile={"type": "Unconfined"})),
    ("seccompProfile_restricted", _spec(securityContext={"runAsNonRoot": True})),
    ("allowPrivilegeEscalation", _context(allowPrivilegeEscalation=None)),
    ("runAsNonRoot", _context(runAsNonRoot=False)),
    ("runAsNonRoot", _spec(securityContext={"seccompProfile": {"type": "RuntimeDefault"}})),
    ("runAsUser", _context(runAsUser=0)),
    ("restrictedVolumes", _spec(volumes=[{"name": "v", "nfs": {"server": "s", "path": "/"}}])),
    ("allowPrivilegeEscalation", _init_container),
]


@pytest.mark.parametrize(("check", "spoil"), BAD)
def test_a_bad_pod_is_found(check: str, spoil: Callable[[Object], None]) -> None:
    pod = copy.deepcopy(pods(overlay("minimal"))["experience-api"])
    spoil(pod)
    assert check in violations(pod)


def test_every_check_has_a_bad_pod() -> None:
    assert {check for check, _ in BAD} == set(CHECKS)
    assert len(CHECKS) == 19
