"""Open windows as they are stored, and the events that they become. Sans-I/O."""

import hashlib
from collections.abc import Sequence

import msgspec

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.stateful.accumulators import Computed, Parts
from services.process_api.pipeline.steps.stateful.grouping import key_of
from services.process_api.pipeline.steps.stateful.step import Due
from services.process_api.pipeline.steps.stateful.windows import Span
from shared.events.event import json_string
from shared.events.headers import Provenance
from shared.runtime.clock import rfc3339

_MS = 1000
_IDENTITY_LENGTH = 16


class Open(msgspec.Struct, array_like=True):
    """One window of one group that is open."""

    start: int
    end: int
    subject: str
    by: tuple[bytes, ...]
    source: str
    """Of the event that came last."""
    values: list[Parts | None]
    revision: int = 0
    """How many early results there were."""
    early_at: int = 0
    """When the next early result is due, in milliseconds since 1970; 0 for never."""
    kept_key: bytes | None = None
    """Of the records of its events; see `kept_key` of `grouping`."""

    @property
    def span(self) -> Span:
        """Its time."""
        return Span(self.start, self.end)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Open]).decode


def pack(windows: Sequence[Open]) -> bytes:
    """Return windows as they are stored."""
    return _encode(windows)


def unpack(packed: bytes | None) -> list[Open]:
    """Read what `pack` has written; nothing is no window."""
    return [] if packed is None else _decode(packed)


class Results:
    """Makes the events of one step."""

    def __init__(self, pipeline: str, step: str, kind: str, by: Sequence[str], values: Sequence[Computed]) -> None:
        """`step` tells apart the results of the steps of a pipeline; `kind` is the type of the events."""
        self._pipeline = pipeline
        self._step = step
        self._kind = kind
        self._by = by
        self._values = values

    def of(self, window: Open, group: bytes, now: int, *, final: bool) -> Due:
        """Return the event of a window; the same window always gives the same id."""
        digest = hashlib.sha256(group).hexdigest()[:_IDENTITY_LENGTH]
        identity = f"{self._pipeline}:{self._step}:{digest}:{window.start}"
        if not final:
            identity += f"/{window.revision}"
        head = {
            "specversion": "1.0",
            "id": identity,
            "source": f"/sources/{window.source}",
            "type": self._kind,
            "subject": window.subject,
            "time": rfc3339(window.end / _MS),
        }
        attributes = b",".join(b'"%b":%b' % (name.encode(), json_string(text)) for name, text in head.items() if text)
        value = b'{%b,"data":%b}' % (attributes, self._data(window, final=final))
        headers = Provenance(window.source, now, identity).headers()
        return Due(Draft(value), headers, key_of(window.kept_key, window.subject))

    def _data(self, window: Open, *, final: bool) -> bytes:
        members = {
            "start": json_string(rfc3339(window.start / _MS)),
            "end": json_string(rfc3339(window.end / _MS)),
            "final": b"true" if final else b"false",
        }
        if self._by:
            members["by"] = b"[%b]" % b",".join(window.by)
        for computed, parts in zip(self._values, window.values, strict=True):
            members[computed.name] = b"null" if parts is None else computed.accumulator.result(parts)
        return b"{%b}" % b",".join(b"%b:%b" % (json_string(name), written) for name, written in members.items())
