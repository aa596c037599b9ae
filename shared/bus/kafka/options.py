"""Where Kafka is, who we are there, and how patient we are."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from shared.bus.topics import TopicsOptions
from shared.settings import Options, RelativePath, Secret

_ADDRESS = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}"
_SERVERS = rf"^{_ADDRESS}(\s*,\s*{_ADDRESS})*$"

Compression = Literal["none", "snappy", "lz4", "zstd"]


def _servers(value: str) -> str:
    if not re.fullmatch(_SERVERS, value):
        raise ValueError(f"expected host:port, or several with commas between, found {value!r}")
    return value


class KafkaOptions(Options):
    """The bus on Apache Kafka."""

    kind: Literal["kafka"] = "kafka"
    """The bus on Apache Kafka."""

    servers: Annotated[str, AfterValidator(_servers)] = Field(
        default="127.0.0.1:9092", json_schema_extra={"pattern": _SERVERS}
    )
    """`host:port`, several separated by commas: any of them tells the others."""

    topics: TopicsOptions = TopicsOptions()
    """The topics of this deployment."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """As Kafka names them: whether traffic is encrypted (SSL) and whether we log in (SASL)."""

    ca_file: RelativePath | None = None
    """PEM file of the authorities that may vouch for the brokers; none takes the system's."""

    certificate_file: RelativePath | None = None
    """PEM file of our own certificate with its key, where brokers ask for one."""

    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How we log in, where `user` is set."""

    user: str | None = None
    """Who we are, with SASL."""

    password: Secret | None = None
    """Of that user."""

    compression: Compression = "none"
    """How batches travel and are stored. None costs this process least: 2.7 µs to write a record of 1 KB, where zstd
    takes 2 µs more and makes JSON four to five times smaller. That is worth it where disks, or lines between zones,
    cost more than processors."""

    request_timeout: float = Field(default=5.0, gt=0, le=60)
    """Seconds after which a broker that does not answer counts as gone, and its connection is opened anew."""

    patience: float = Field(default=15.0, gt=0, le=120)
    """Seconds that a transaction, or any other question, is kept trying while brokers restart or elect leaders,
    before it fails as unavailable."""

    session_timeout: float = Field(default=10.0, ge=1, le=300)
    """Seconds of silence after which a member of a group counts as dead and others take its partitions. Brokers
    refuse less than `group.min.session.timeout.ms`, 6 by default."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.security_protocol.startswith("SASL") and (self.user is None or self.password is None):
            raise ValueError(f"{self.security_protocol} needs `user` and `password`")
        if self.user is not None and not self.security_protocol.startswith("SASL"):
            raise ValueError(f"`user` is given, but {self.security_protocol} does not log in: SASL_SSL does")
        if "SSL" not in self.security_protocol and (self.ca_file or self.certificate_file):
            raise ValueError(f"certificates are given, but {self.security_protocol} does not use any: SASL_SSL does")
        return self

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """`servers` taken apart."""
        hosts = [server.strip().rpartition(":") for server in self.servers.split(",")]
        return [(host.strip("[]"), int(port)) for host, _, port in hosts]
