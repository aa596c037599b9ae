"""How to reach Kafka, and its timeouts."""

import re
import ssl
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from shared.bus.topics import TopicsOptions
from shared.settings import Options, RelativePath, Secret

_ADDRESS = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}"
_LAST_PORT = 65_535
_SERVERS = rf"^{_ADDRESS}(\s*,\s*{_ADDRESS})*$"

Compression = Literal["none", "snappy", "lz4", "zstd"]


def _one_text(value: object) -> object:
    """Refuse a list, as other systems take it, with the text that means the same."""
    if isinstance(value, list) and value and all(isinstance(server, str) for server in value):
        raise ValueError(f"found a list; expected one text: {','.join(value)}")
    return value


def _servers(value: str) -> str:
    if not re.fullmatch(_SERVERS, value):
        raise ValueError(f"found {value!r}; expected host:port, or several separated by commas")
    for server in value.split(","):
        if not 0 < int(server.rpartition(":")[2]) <= _LAST_PORT:
            raise ValueError(f"found {server.strip()!r}; expected a port from 1 to {_LAST_PORT}")
    return value


Servers = Annotated[
    str, BeforeValidator(_one_text), AfterValidator(_servers), Field(json_schema_extra={"pattern": _SERVERS})
]
"""`host:port`, several separated by commas."""


class KafkaConnectionOptions(Options):
    """How to reach a Kafka cluster."""

    servers: Servers
    """Brokers to connect to first: `host:port`, several separated by commas. The others are discovered."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Kafka's `security.protocol`: SSL encrypts, SASL authenticates with `user` and `password`."""

    ca_file: RelativePath | None = None
    """PEM file of the certificate authorities that the brokers' certificates are checked against; by default the
    system's."""

    cert_file: RelativePath | None = None
    """PEM file of the client certificate, for brokers that require one."""

    key_file: RelativePath | None = None
    """PEM file of the private key of `cert_file`; by default it is in `cert_file` as well."""

    key_password: Secret | None = None
    """The password of the private key, if it is encrypted."""

    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """Kafka's `sasl.mechanism`."""

    user: str | None = None
    """The SASL user name."""

    password: Secret | None = None
    """The SASL password."""

    request_timeout: float = Field(default=5.0, gt=0, le=60)
    """Seconds after which a broker that does not answer is considered unavailable, and its connection is closed."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.security_protocol.startswith("SASL") and (self.user is None or self.password is None):
            raise ValueError(f"security_protocol: {self.security_protocol} needs `user` and `password`")
        if self.user is not None and not self.security_protocol.startswith("SASL"):
            raise ValueError(f"user: {self.security_protocol} does not authenticate; use security_protocol: SASL_SSL")
        if "SSL" not in self.security_protocol and (self.ca_file or self.cert_file):
            raise ValueError(
                f"ca_file, cert_file: {self.security_protocol} does not use certificates; "
                f"use security_protocol: SSL or SASL_SSL"
            )
        if self.key_file and not self.cert_file:
            raise ValueError("key_file: needs `cert_file`, the certificate of the key")
        if self.key_password and not self.cert_file:
            raise ValueError("key_password: needs `cert_file`, the certificate of the key")
        return self

    def load_client_certificate(self, context: ssl.SSLContext) -> None:
        """Load the client certificate, if there is one, with its key.

        Raises:
            OSError, ValueError: a file cannot be read, or is not a certificate with its key and the password of that.
        """
        if self.cert_file is not None:
            password = self.key_password.get_secret_value() if self.key_password else ""
            # A function, because OpenSSL would otherwise prompt at the terminal.
            context.load_cert_chain(self.cert_file, self.key_file, lambda: password)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Hosts and ports in `servers`."""
        hosts = [server.strip().rpartition(":") for server in self.servers.split(",")]
        return [(host.strip("[]"), int(port)) for host, _, port in hosts]


class KafkaOptions(KafkaConnectionOptions):
    """The bus on Apache Kafka."""

    kind: Literal["kafka"] = "kafka"
    """The bus on Apache Kafka."""

    servers: Servers = "127.0.0.1:9092"
    """Brokers to connect to first: `host:port`, several separated by commas. The others are discovered."""

    topics: TopicsOptions = TopicsOptions()
    """The topics of this deployment."""

    compression: Compression = "none"
    """Compression of record batches, on the wire and on disk. `none` costs the least CPU here: 2.7 µs to write a record
    of 1 KB. `zstd` costs 2 µs more and makes JSON four to five times smaller, which pays where disks or traffic between
    zones cost more than CPU."""

    delivery_timeout: float = Field(default=15.0, gt=0, le=120)
    """Seconds for which a transaction, or any other operation, is retried while brokers restart or elect leaders,
    before it fails as unavailable."""

    session_timeout: float = Field(default=10.0, ge=1, le=300)
    """Seconds without a heartbeat after which a member of a group is considered dead and its partitions are assigned to
    others. Brokers refuse less than `group.min.session.timeout.ms`, 6 seconds by default."""
