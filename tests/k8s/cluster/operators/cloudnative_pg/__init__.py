"""CloudNativePG in the cluster: its operator, built from its module, with the manifests of its release."""

import os

import yaml

from tests.k8s.cluster.deploying import Cluster
from tests.k8s.cluster.operators.building import image, module_folder, program
from tests.k8s.rendering import Object, documents

NAMESPACE = "cnpg-system"
GROUP = "postgresql.cnpg.io"
MODULE = "github.com/cloudnative-pg/cloudnative-pg"
INSTANCE = os.environ.get("TRELAY_K8S_CLOUDNATIVE_PG", "registry.example/trelay-test/cloudnative-pg:15")
"""Its tag is the major version of PostgreSQL."""
_VERSION = "1.27.0"
# The operator also brings its program into the pods of instances: which one they need, it tells by the names of files.
_DOCKERFILE = """
FROM scratch
ARG TARGETARCH
COPY program /manager
COPY program /operator/manager_${TARGETARCH}
USER 65532:65532
ENTRYPOINT ["/manager"]
"""


def install(cluster: Cluster) -> None:
    """Install the operator."""
    built = image("cloudnative-pg-operator:1", _DOCKERFILE, program("cloudnative_pg", f"{MODULE}/cmd/manager"))
    objects = _manifests()
    for found in objects:
        if found["kind"] == "Deployment":
            (container,) = found["spec"]["template"]["spec"]["containers"]
            container |= {"image": built, "imagePullPolicy": "IfNotPresent"}
            del container["resources"]["limits"]["cpu"]  # a node that is short of CPU would not see it start
            for variable in container["env"]:
                if variable["name"] == "OPERATOR_IMAGE_NAME":
                    variable["value"] = built
    applied = cluster.run("apply", "--server-side", "--force-conflicts", "-f", "-", given=yaml.safe_dump_all(objects))
    assert applied.returncode == 0, applied.stderr
    waited = cluster.run("-n", NAMESPACE, "rollout", "status", "deployment/cnpg-controller-manager", "--timeout=240s")
    assert waited.returncode == 0, state(cluster)


def uninstall(cluster: Cluster) -> None:
    """Delete all of it."""
    cluster.run("delete", "-f", "-", "--ignore-not-found", "--wait=true", given=yaml.safe_dump_all(_manifests()))


def state(cluster: Cluster) -> str:
    """Return what the operator does, for a failure."""
    pods = cluster.run("-n", NAMESPACE, "describe", "pods").stdout
    return pods + cluster.run("-n", NAMESPACE, "logs", "deployment/cnpg-controller-manager", "--tail=30").stdout


def _manifests() -> list[Object]:
    return documents((module_folder("cloudnative_pg") / "releases" / f"cnpg-{_VERSION}.yaml").read_text())
