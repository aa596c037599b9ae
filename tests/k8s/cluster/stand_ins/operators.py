"""What stands for the operators Strimzi, CloudNativePG and cert-manager, and does what they do with their resources.

Kafka gets the brokers, the settings, the topics, the users and the privileges of the custom resources, and TLS with
client certificates; PostgreSQL gets one instance with TLS. All certificates are of one authority.
"""

import json
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tests.k8s.cluster.deploying import program
from tests.k8s.cluster.overlays import AUTHORITY, PASSWORD, SIGNING_KEY
from tests.k8s.cluster.stand_ins.servers import PEERS, kafka_brokers, postgresql
from tests.k8s.rendering import Object, of_kind

OWN = {"apps", "policy", "networking.k8s.io"}
"""Groups of Kubernetes itself."""


def definitions(objects: list[Object]) -> list[Object]:
    """Return definitions of the custom resources among some objects, which accept any content."""
    kinds = {(*found["apiVersion"].split("/"), found["kind"]) for found in objects if "/" in found["apiVersion"]}
    return [_definition(*kind) for kind in sorted(kinds) if kind[0] not in OWN]


def _definition(group: str, version: str, kind: str) -> Object:
    plural = f"{kind.lower()}s"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
    names = {"kind": kind, "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [served]},
    }


def secrets_of_users() -> list[Object]:
    """Return the Secrets that docs/operations/secrets.md has users create."""
    return [
        _secret("trelay-database", username="trelay", password=PASSWORD),
        _secret("trelay-tokens", k1=SIGNING_KEY),
    ]


def reconciled(objects: list[Object]) -> list[Object]:
    """Return what the operators make of the custom resources among some objects."""
    database = [_secret("trelay-postgresql-ca", **_ca()), *postgresql()]
    return [*reconciled_without_database(objects), *database]


def reconciled_without_database(objects: list[Object]) -> list[Object]:
    """Return the same, where CloudNativePG itself is in the cluster."""
    (pool,) = of_kind(objects, "KafkaNodePool").values()
    (kafka,) = of_kind(objects, "Kafka").values()
    users = of_kind(objects, "KafkaUser")
    return [
        *_secrets(users, of_kind(objects, "Certificate")),
        *kafka_brokers(pool["spec"]["replicas"], kafka["spec"]["kafka"]["config"]),
        _kafka_operator(
            brokers=pool["spec"]["replicas"],
            topics=[*of_kind(objects, "KafkaTopic").values()],
            users=[*users.values()],
        ),
    ]


def _secrets(users: dict[str, Object], certificates: dict[str, Object]) -> list[Object]:
    ca = _ca()
    made = [_secret("trelay-cluster-ca-cert", **ca)]
    for name in users:
        # Java refuses a certificate without any alternative name.
        crt, key = _issued(f"{name}.invalid", common_name=name)
        made.append(_secret(name, **{"user.crt": crt, "user.key": key}))
    for each in certificates.values():
        crt, key = _issued(*each["spec"]["dnsNames"], "experience-api")
        made.append(_secret(each["spec"]["secretName"], **{"tls.crt": crt, "tls.key": key}, **ca))
    crt, key = _issued("trelay-kafka-bootstrap", f"*.{PEERS}.trelay.svc")
    made.append(_secret("stand-in-kafka", **{"key-and-chain.pem": _for_java(key) + crt}, **ca))
    crt, key = _issued("trelay-postgresql-rw")
    made.append(_secret("stand-in-postgresql", **{"tls.crt": crt, "tls.key": key}))
    return made


def _ca() -> dict[str, str]:
    return {"ca.crt": AUTHORITY.cert_pem.bytes().decode()}


def _issued(*names: str, common_name: str | None = None) -> tuple[str, str]:
    issued = AUTHORITY.issue_cert(*names, common_name=common_name)
    return "".join(pem.bytes().decode() for pem in issued.cert_chain_pems), issued.private_key_pem.bytes().decode()


def _for_java(key: str) -> str:
    """Return a key in the only format that Java reads."""
    loaded = load_pem_private_key(key.encode(), None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _secret(name: str, **content: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content}


def _kafka_operator(**resources: Any) -> Object:
    labels = {"strimzi.io/cluster": "trelay"}  # the policies let it reach the brokers, as Strimzi's own
    command = ["/programs/kafka_operator.py"]
    environment = {"BROKERS": f"{PEERS}:9091", "RESOURCES": json.dumps(resources)}
    return program("kafka-operator", labels, command, **environment)
