"""The headers of a record whose value is one event: how to read the value, and the event's provenance.

Records follow the CloudEvents Kafka protocol binding in structured mode, so that other consumers of the topics need
nothing of Trelay: `content-type` says that the value is a whole CloudEvent.
Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md#33-structured-content-mode

`trelay-provenance` is Trelay's own and optional: the services route and measure an event by it without parsing the
value. It is one header because `ce_source`, `ce_id` and a reading time apart cost twice as much a record, and because
the official Python SDK takes a record with any `ce_` header for binary mode.
"""

import re
from typing import NamedTuple

from shared.bus.protocol import Headers
from shared.events.event import MalformedEvent

CONTENT_TYPE = ("content-type", b"application/cloudevents+json; charset=UTF-8")

PROVENANCE = "trelay-provenance"

_FORMER_NAME = "trail"
"""The name of `PROVENANCE` before records had a `content-type`; logs still hold such records."""

_MILLISECONDS = re.compile(r"[0-9]{1,15}")


class Provenance(NamedTuple):
    """Where an event came from."""

    source: str
    """The name of the source (no spaces), or `entity` for an event that was pushed."""
    read_ms: int
    """When Trelay first held the event, in milliseconds since 1970."""
    id: str

    def pack(self) -> bytes:
        """Return the header's value: `source read_ms id` in UTF-8."""
        return f"{self.source} {self.read_ms} {self.id}".encode()

    def headers(self) -> Headers:
        """Return the headers of the event's record."""
        return headers_of(self.pack())


def headers_of(packed: bytes) -> Headers:
    """Return the headers of a record; `packed` is what `Provenance.pack` gives."""
    return (CONTENT_TYPE, (PROVENANCE, packed))


def packed_provenance(headers: Headers) -> bytes | None:
    """Return the value of the provenance header, None where a record has none: its writer was not Trelay."""
    for name, value in headers:
        if name in {PROVENANCE, _FORMER_NAME}:
            return value
    return None


def provenance_in(headers: Headers) -> Provenance | None:
    """Return the provenance that headers name; None where they name none that can be read."""
    packed = packed_provenance(headers)
    try:
        return None if packed is None else unpack_provenance(packed)
    except MalformedEvent:
        return None


def unpack_provenance(packed: bytes) -> Provenance:
    """Read the value of the provenance header.

    Raises:
        MalformedEvent: it does not have three parts, or the second is not a time.
    """
    source, _, rest = packed.decode(errors="replace").partition(" ")
    read_ms, space, identity = rest.partition(" ")
    if not space or not _MILLISECONDS.fullmatch(read_ms):
        raise MalformedEvent(f"header {PROVENANCE!r}: found {packed[:80]!r}; expected 'source read_ms id'")
    return Provenance(source, int(read_ms), identity)
