"""A request in one fixed version, and the types that aiokafka lacks.

See https://kafka.apache.org/protocol and the schemas in Kafka's `clients/src/main/resources/common/message`.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.abstract import AbstractType


class Uuid(AbstractType):  # type: ignore[misc]  # aiokafka is published without types
    """Sixteen bytes as they are."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        """Return the value."""
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        """Read sixteen bytes."""
        return data.read(16)


class VersionedRequest:
    """A request in one version, in the form that aiokafka's connection sends."""

    def __init__(self, body: Any) -> None:
        """`body` is aiokafka's `RequestStruct` of that version."""
        self._body = body

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> Any:
        """Return the body to send; `versions` are the ranges that the broker supports, by API key.

        Raises:
            IncompatibleBrokerVersion: the broker does not support the version.
        """
        least, most = versions.get(self._body.API_KEY, (0, -1))
        if not least <= self._body.API_VERSION <= most:
            raise IncompatibleBrokerVersion(
                f"{type(self._body).__name__} version {self._body.API_VERSION}: the broker supports versions {least} "
                f"to {most}; expected Kafka 3.0 or newer"
            )
        return self._body
