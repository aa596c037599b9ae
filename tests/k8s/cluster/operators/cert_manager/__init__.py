"""Cert-manager in the cluster: its controller, webhook and cainjector, built from its module, and its own chart."""

import subprocess

import yaml

from tests.k8s.cluster.deploying import Cluster, until
from tests.k8s.cluster.operators.building import image, module_folder, program
from tests.k8s.helm import helm
from tests.k8s.rendering import Object

NAMESPACE = "cert-manager"
ISSUER = "trelay"
PARTS = {"controller": "image", "webhook": "webhook.image", "cainjector": "cainjector.image"}
"""What each part is called in the values of the chart."""
_VALUES = "crds.enabled=true,startupapicheck.enabled=false,livenessProbe.enabled=false,prometheus.enabled=false"


def install(cluster: Cluster) -> None:
    """Install cert-manager, with the ClusterIssuer that the component `cert-manager` names: an authority of its own."""
    built = program("cert_manager", ".")
    images: list[str] = []
    for part, value in PARTS.items():
        # The chart gives arguments of the program; the image says which part it is.
        dockerfile = f'FROM scratch\nCOPY program /program\nUSER 65532:65532\nENTRYPOINT ["/program", "{part}"]\n'
        repository, _, tag = image(f"cert-manager-{part}:1", dockerfile, built).rpartition(":")
        images += [f"{value}.repository={repository}", f"{value}.tag={tag}", f"{value}.pullPolicy=IfNotPresent"]
    cluster.run("create", "namespace", NAMESPACE)
    applied = cluster.run("apply", "--server-side", "-f", "-", given=_rendered(images))
    assert applied.returncode == 0, applied.stderr
    for deployment in ("cert-manager", "cert-manager-webhook", "cert-manager-cainjector"):
        waited = cluster.run("-n", NAMESPACE, "rollout", "status", f"deployment/{deployment}", "--timeout=180s")
        assert waited.returncode == 0, _state(cluster)
    authority = yaml.safe_dump_all(_authority())
    # The API server calls the webhook once its authority has been injected.
    until(lambda: cluster.run("apply", "-f", "-", given=authority).returncode == 0, 120, lambda: _state(cluster))


def uninstall(cluster: Cluster) -> None:
    """Delete all of it."""
    chart = _rendered([])
    cluster.run("delete", "-f", "-", "--ignore-not-found", "--wait=true", given=chart)
    cluster.run("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")


def _rendered(images: list[str]) -> str:
    chart = module_folder("cert_manager") / "deploy" / "charts" / "cert-manager"
    command = [str(helm()), "template", "cert-manager", str(chart), f"--namespace={NAMESPACE}", f"--set={_VALUES}"]
    command.append(f"--set-string={','.join(images)}")
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def _authority() -> list[Object]:
    """Return a self-signed authority, and the ClusterIssuer of it."""
    return [
        _own("ClusterIssuer", "self-signed", selfSigned={}),
        _own(
            "Certificate",
            "authority",
            isCA=True,
            commonName="authority of the tests",
            secretName="authority",
            privateKey={"algorithm": "ECDSA", "size": 256},
            issuerRef={"name": "self-signed", "kind": "ClusterIssuer"},
        ),
        _own("ClusterIssuer", ISSUER, ca={"secretName": "authority"}),
    ]


def _own(kind: str, name: str, **spec: object) -> Object:
    metadata = {"name": name} | ({"namespace": NAMESPACE} if kind == "Certificate" else {})
    return {"apiVersion": "cert-manager.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


def _state(cluster: Cluster) -> str:
    pods = cluster.run("-n", NAMESPACE, "describe", "pods").stdout
    logs = cluster.run(
        "-n", NAMESPACE, "logs", "--all-containers", "--prefix", "-l", "app.kubernetes.io/instance", "--tail=20"
    )
    return f"{pods}\n{logs.stdout}"
