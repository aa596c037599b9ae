"""The checks of the Pod Security Standard "restricted" of Kubernetes 1.36, on a pod template.

Source: the Pod Security Standards, and the names of the checks in k8s.io/pod-security-admission. Decides without I/O.
"""

from collections.abc import Callable, Iterator
from typing import Any

Object = dict[str, Any]

_BASELINE_CAPABILITIES = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}  # fmt: skip
_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
_SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem",
}  # fmt: skip
_SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_SECCOMP = {"RuntimeDefault", "Localhost"}
_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


def containers(pod: Object) -> Iterator[Object]:
    """Yield the containers of all kinds."""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from pod["spec"].get(kind) or ()


def _contexts(pod: Object) -> Iterator[Object]:
    yield pod["spec"].get("securityContext") or {}
    for container in containers(pod):
        yield container.get("securityContext") or {}


def _security(container: Object) -> Object:
    return container.get("securityContext") or {}


def _privileged(pod: Object) -> bool:
    return any(_security(container).get("privileged") for container in containers(pod))


def _host_namespaces(pod: Object) -> bool:
    return any(pod["spec"].get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))


def _host_path(pod: Object) -> bool:
    return any("hostPath" in volume for volume in pod["spec"].get("volumes") or ())


def _host_ports(pod: Object) -> bool:
    return any(port.get("hostPort") for container in containers(pod) for port in container.get("ports") or ())


def _handlers(container: Object) -> Iterator[Object]:
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        yield container.get(probe) or {}
    for hook in ("preStop", "postStart"):
        yield (container.get("lifecycle") or {}).get(hook) or {}


def _host_probes(pod: Object) -> bool:
    return any(
        (handler.get(kind) or {}).get("host")
        for container in containers(pod)
        for handler in _handlers(container)
        for kind in ("httpGet", "tcpSocket")
    )


def _added(container: Object) -> set[str]:
    return set((_security(container).get("capabilities") or {}).get("add") or ())


def _capabilities_baseline(pod: Object) -> bool:
    return any(_added(container) - _BASELINE_CAPABILITIES for container in containers(pod))


def _capabilities_added(pod: Object) -> bool:
    return any(_added(container) - {"NET_BIND_SERVICE"} for container in containers(pod))


def _capabilities_kept(pod: Object) -> bool:
    return any(
        "ALL" not in ((_security(container).get("capabilities") or {}).get("drop") or ())
        for container in containers(pod)
    )


def _selinux(pod: Object) -> bool:
    options = [context.get("seLinuxOptions") or {} for context in _contexts(pod)]
    return any(
        found.get("type", "") not in _SELINUX_TYPES or found.get("user") or found.get("role") for found in options
    )


def _apparmor(pod: Object) -> bool:
    profiles = [(context.get("appArmorProfile") or {}).get("type", "RuntimeDefault") for context in _contexts(pod)]
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    named = [value for key, value in annotations.items() if key.startswith(_APPARMOR_ANNOTATION)]
    return "Unconfined" in profiles or "unconfined" in named


def _proc_mount(pod: Object) -> bool:
    return any(_security(container).get("procMount", "Default") != "Default" for container in containers(pod))


def _sysctls(pod: Object) -> bool:
    named = (pod["spec"].get("securityContext") or {}).get("sysctls") or ()
    return any(sysctl["name"] not in _SYSCTLS for sysctl in named)


def _windows_host_process(pod: Object) -> bool:
    return any((context.get("windowsOptions") or {}).get("hostProcess") for context in _contexts(pod))


def _profile(context: Object) -> str | None:
    found = (context.get("seccompProfile") or {}).get("type")
    return None if found is None else str(found)


def _seccomp_baseline(pod: Object) -> bool:
    return any(_profile(context) == "Unconfined" for context in _contexts(pod))


def _seccomp_restricted(pod: Object) -> bool:
    general = _profile(pod["spec"].get("securityContext") or {})
    return any((_profile(_security(container)) or general) not in _SECCOMP for container in containers(pod))


def _escalation(pod: Object) -> bool:
    return any(_security(container).get("allowPrivilegeEscalation") is not False for container in containers(pod))


def _run_as_root_possible(pod: Object) -> bool:
    general = (pod["spec"].get("securityContext") or {}).get("runAsNonRoot")
    return any(_security(container).get("runAsNonRoot", general) is not True for container in containers(pod))


def _run_as_user_zero(pod: Object) -> bool:
    return any(context.get("runAsUser") == 0 for context in _contexts(pod))


def _volume_types(pod: Object) -> bool:
    return any(set(volume) - {"name"} - _VOLUMES for volume in pod["spec"].get("volumes") or ())


CHECKS: dict[str, Callable[[Object], bool]] = {
    "privileged": _privileged,
    "hostNamespaces": _host_namespaces,
    "hostPathVolumes": _host_path,
    "hostPorts": _host_ports,
    "hostProbesAndHostLifecycle": _host_probes,
    "capabilities_baseline": _capabilities_baseline,
    "capabilities_restricted: add": _capabilities_added,
    "capabilities_restricted: drop": _capabilities_kept,
    "seLinuxOptions": _selinux,
    "appArmorProfile": _apparmor,
    "procMount": _proc_mount,
    "sysctls": _sysctls,
    "windowsHostProcess": _windows_host_process,
    "seccompProfile_baseline": _seccomp_baseline,
    "seccompProfile_restricted": _seccomp_restricted,
    "allowPrivilegeEscalation": _escalation,
    "runAsNonRoot": _run_as_root_possible,
    "runAsUser": _run_as_user_zero,
    "restrictedVolumes": _volume_types,
}
"""By name: whether a pod template violates the check."""


def violations(pod: Object) -> list[str]:
    """Return the names of the checks that a pod template violates."""
    return [name for name, violated in CHECKS.items() if violated(pod)]
