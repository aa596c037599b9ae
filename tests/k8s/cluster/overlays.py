"""The overlays as the tests deploy them: with images that the nodes have, and with sizes for one small node."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trustme
import yaml

from tests.k8s.cluster.deploying import NAMESPACE, REGISTRY, SERVICES, VERSION
from tests.k8s.rendering import MANIFESTS, Object, of_kind, overlay, rendered

SERVERS = {
    "docker.io/library/postgres": os.environ.get("TRELAY_K8S_POSTGRES", "registry.example/trelay-test/postgres:1"),
    "docker.io/apache/kafka": os.environ.get("TRELAY_K8S_KAFKA", "registry.example/trelay-test/kafka:1"),
}
IDLE_SOURCES = 5
SIGNING_KEY = "the-first-signing-key-of-the-tests-on-a-cluster"
PASSWORD = "local-only"

TABLES = (
    "CREATE TABLE feed (id bigserial PRIMARY KEY, number bigint NOT NULL UNIQUE, account text NOT NULL); "
    "CREATE TABLE idle (id bigserial PRIMARY KEY, number bigint NOT NULL)"
)
AUTHORITY = trustme.CA()

Change = Callable[[dict[str, Any]], None]
"""Changes settings in place."""


def certificate() -> dict[str, str]:
    """Return a new certificate of the listener, as a Secret has it."""
    issued = AUTHORITY.issue_cert("experience-api", f"experience-api.{NAMESPACE}.svc")
    return {
        "tls.crt": "".join(pem.bytes().decode() for pem in issued.cert_chain_pems),
        "tls.key": issued.private_key_pem.bytes().decode(),
        "ca.crt": AUTHORITY.cert_pem.bytes().decode(),
    }


def with_test_images(objects: list[Object], version: str = VERSION) -> list[Object]:
    """Let the workloads use the images that the nodes have."""
    for workload in of_kind(objects, "Deployment", "StatefulSet", "Job").values():
        for container in workload["spec"]["template"]["spec"]["containers"]:
            name = container["image"].rpartition(":")[0]
            ours = name.startswith("registry.example/trelay/")
            container["image"] = f"{REGISTRY}/{name.rpartition('/')[2]}:{version}" if ours else SERVERS[name]
    return objects


def database_objects() -> list[Object]:
    """Return the PostgreSQL of the overlay `local`, which stands for a database of the user's."""
    return [
        found
        for found in with_test_images(overlay("local"))
        if found["metadata"]["name"].startswith(("postgresql", "trelay-database"))
    ]


def local(folder: Path, replicas: int, version: str = VERSION) -> list[Object]:
    """Return the overlay `local` with the source and the pipeline of the load program.

    Beside them it has what the tests change: TLS at the listener as with the component `cert-manager`, signing keys in
    a folder, idle sources to be shared by replicas, and Secrets whose names stay.
    """
    kustomization = _with_settings(folder, "local", experience=_experience)
    with_tls = MANIFESTS / "components" / "cert-manager" / "kustomization.yaml"
    kustomization["patches"] = yaml.safe_load(with_tls.read_text())["patches"]
    kustomization["secretGenerator"] = [
        _secret("trelay-database", "replace", password=PASSWORD),
        _secret("trelay-tokens", "replace", k1=SIGNING_KEY),
        _secret("experience-api-tls", "create", **certificate()),
    ]
    kustomization["replicas"] = [{"name": service, "count": replicas} for service in SERVICES]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return with_test_images(rendered(folder), version)


def production(folder: Path) -> list[Object]:
    """Return the overlay `production` with the source and the pipeline of the load program."""
    kustomization = _with_settings(folder, "production")
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return with_test_images(rendered(folder))


def _with_settings(folder: Path, name: str, experience: Change | None = None) -> dict[str, Any]:
    """Write the settings of an overlay, changed, and return the kustomization that uses them."""
    for layer, change in (("system", _system), ("process", _process), ("experience", experience)):
        settings = yaml.safe_load((MANIFESTS / "overlays" / name / "settings" / f"{layer}.yaml").read_text())
        if change is not None:
            change(settings)
        (folder / f"{layer}.yaml").write_text(json.dumps(settings))
    up = "../" * (len(folder.resolve().parts) - 1)
    return {
        "namespace": NAMESPACE,
        "resources": [up + str(MANIFESTS / "overlays" / name).removeprefix("/")],
        "configMapGenerator": [
            {"name": f"{layer}-settings", "behavior": "replace", "files": [f"trelay.yaml={layer}.yaml"]}
            for layer in ("system", "process", "experience")
        ],
    }


def _secret(name: str, behavior: str, **content: str) -> dict[str, Any]:
    literals = [f"{key}={value}" for key, value in content.items()]
    # With a hash in its name, another content would be another Secret, and restart the pods.
    return {"name": name, "behavior": behavior, "literals": literals, "options": {"disableNameSuffixHash": True}}


def _system(settings: dict[str, Any]) -> None:
    """Read tables of the database of Trelay itself."""
    table = {**settings["database"], "kind": "table", "type": "row.added", "key": ["id"]}
    sources = {"feed": {**table, "table": "feed", "subject": "account", "interval": 0.2}}
    idle = {**table, "table": "idle", "interval": 5}
    settings["system"]["sources"] = sources | {f"idle-{number}": idle for number in range(1, IDLE_SOURCES + 1)}


def _process(settings: dict[str, Any]) -> None:
    settings["process"]["pipelines"] = {"feed": {"sources": ["feed"], "channel": "feed"}}


def _experience(settings: dict[str, Any]) -> None:
    folder = "/run/secrets/trelay/tls"
    experience = settings["experience"]
    experience["listen"]["tls"] = {"cert_file": f"{folder}/tls.crt", "key_file": f"{folder}/tls.key"}
    experience["tokens"] = {"key_folder": "/run/secrets/trelay/tokens", "sign_after": 5}
