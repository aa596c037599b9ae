"""Kafka with TLS and privileges, and PostgreSQL with TLS, under the names that the operators give them.

Both are the servers of the overlay `local` with other settings.
"""

from tests.k8s.cluster.overlays import with_test_images
from tests.k8s.rendering import Object, of_kind, overlay

PEERS = "trelay-kafka-brokers"
KAFKA = "trelay-kafka"
POSTGRESQL = "trelay-postgresql"

_START_KAFKA = f"""\
me="$HOSTNAME.{PEERS}.trelay.svc"
cp /etc/kafka-settings/server.properties /tmp/server.properties
echo "node.id=${{HOSTNAME##*-}}" >>/tmp/server.properties
echo "advertised.listeners=CLIENTS://$me:9093,BROKERS://$me:9091" >>/tmp/server.properties
/opt/kafka/bin/kafka-storage.sh format --ignore-formatted --cluster-id c3RhbmQtaW4tdHJlbGF5MQ \\
    --config /tmp/server.properties
exec /opt/kafka/bin/kafka-server-start.sh /tmp/server.properties
"""
_START_POSTGRESQL = """\
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth=scram-sha-256 --encoding=UTF8
    echo 'hostssl all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl --wait --options="-c listen_addresses='' -c unix_socket_directories=/tmp" start
    PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE") createdb --host=/tmp --username="$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl --wait stop
fi
exec postgres -c ssl=on -c ssl_cert_file=/tls/tls.crt -c ssl_key_file=/tls/tls.key -c listen_addresses='*' \\
    -c unix_socket_directories=/tmp -c max_connections=200
"""


def kafka_brokers(count: int, config: dict[str, object]) -> list[Object]:
    """Return brokers, which are controllers too, and their Services. Clients come to port 9093 with certificates.

    Port 9091 is for the brokers and the operators: who comes there may do everything.
    """
    labels = {"strimzi.io/cluster": "trelay", "app": KAFKA}
    brokers = _server("kafka", KAFKA, labels, "stand-in-kafka", _START_KAFKA)
    brokers["spec"] |= {"serviceName": PEERS, "replicas": count, "podManagementPolicy": "Parallel"}
    (container,) = brokers["spec"]["template"]["spec"]["containers"]
    container["ports"] = [{"name": "clients", "containerPort": 9093}, {"name": "brokers", "containerPort": 9091}]
    _volume(brokers, "settings")["configMap"] = {"name": "stand-in-kafka"}
    settings = {
        "process.roles": "broker,controller",
        "controller.quorum.voters": ",".join(f"{n}@{KAFKA}-{n}.{PEERS}.trelay.svc:9090" for n in range(count)),
        "listeners": "CLIENTS://:9093,BROKERS://:9091,CONTROLLER://:9090",
        "listener.security.protocol.map": "CLIENTS:SSL,BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKERS",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": "/data/kafka",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": "/tls/key-and-chain.pem",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": "/tls/ca.crt",
        "listener.name.clients.ssl.client.auth": "required",
        # The user is the common name, as with Strimzi.
        "listener.name.clients.ssl.principal.mapping.rules": "RULE:^CN=([^,]+),.*$/$1/,DEFAULT",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        **{key: str(value).lower() if isinstance(value, bool) else value for key, value in config.items()},
    }
    properties = "".join(f"{key}={value}\n" for key, value in settings.items())
    peers: Object = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": labels}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "stand-in-kafka"},
            "data": {"server.properties": properties},
        },
        _service(PEERS, **peers, ports=[{"name": "clients", "port": 9093}, {"name": "brokers", "port": 9091}]),
        _service("trelay-kafka-bootstrap", selector=labels, ports=[{"name": "clients", "port": 9093}]),
        brokers,
    ]


def postgresql() -> list[Object]:
    """Return an instance with TLS, and its Service."""
    labels = {"cnpg.io/cluster": POSTGRESQL, "app.kubernetes.io/component": "postgresql"}
    instance = _server("postgresql", POSTGRESQL, labels, "stand-in-postgresql", _START_POSTGRESQL)
    _volume(instance, "database")["secret"]["secretName"] = "trelay-database"
    return [instance, _service(f"{POSTGRESQL}-rw", selector=labels, ports=[{"name": "postgresql", "port": 5432}])]


def _server(original: str, name: str, labels: dict[str, str], secret: str, script: str) -> Object:
    """Return the StatefulSet of the overlay `local`, renamed, with certificates, and started by a script."""
    found = of_kind(with_test_images(overlay("local")), "StatefulSet")[original]
    found["metadata"] = {"name": name}
    found["spec"]["selector"] = {"matchLabels": labels}
    template = found["spec"]["template"]
    template["metadata"] = {"labels": labels}
    del template["spec"]["serviceAccountName"]
    template["spec"]["volumes"].append({"name": "tls", "secret": {"secretName": secret, "defaultMode": 0o440}})
    (container,) = template["spec"]["containers"]
    container |= {"command": ["/bin/sh", "-euc"], "args": [script]}
    container["volumeMounts"].append({"name": "tls", "mountPath": "/tls", "readOnly": True})
    return found


def _volume(workload: Object, name: str) -> Object:
    volumes: list[Object] = workload["spec"]["template"]["spec"]["volumes"]
    return next(volume for volume in volumes if volume["name"] == name)


def _service(name: str, **spec: object) -> Object:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
