"""Reads in the audit to which connections of a client a published event was written. Sans-I/O.

A record of the audit names a range of cursors. An event was written to the connection if it lies in one; a later record
of the same connection may say that it was sent, or acknowledged.
"""

from collections.abc import Iterable, Sequence

import msgspec

from services.experience_api.wire.cursor import CursorCodec, CursorRefused, Vector
from services.experience_api.wire.snapshot_cursor import is_within_snapshot, vector_of

_KEPT = 8
"""Connections with the event, and connections without an end, that are kept."""

Place = tuple[int, int]
"""Partition and offset on the publish topic."""


class Audited(msgspec.Struct):
    """One published record, and one connection that it was written to."""

    connection: str
    node: str
    at: str
    """The time of the record of the audit, in RFC 3339: it was written by then."""
    partition: int
    offset: int
    channels: list[str]
    filters: dict[str, str]
    conflate: float
    sent: bool | None = None
    """Whether the kernel of the replica has accepted it; None where the audit cannot know, as under TLS."""
    acknowledged: bool | None = None
    """Whether the kernel of the client, or of a proxy, has received it."""
    ended: str = ""
    """How the connection ended; empty while it has not."""


class Audit(msgspec.Struct):
    """What the audit says of one client, as far as it was read."""

    client: str = ""
    epoch: str = ""
    partitions: int = 0
    written: list[Audited] = []
    behind: dict[str, bool] = {}
    """Connections without an end, and whether they have passed the event."""
    missed: list[str] = []
    """How connections ended that had not got as far as the event, newest last."""
    snapshots: bool = False
    """Whether one began with a snapshot, whose events are in no range."""
    records: int = 0
    """Of this client."""

    def take(self, key: bytes | None, value: bytes, published: Sequence[Place]) -> None:
        """Take one record of the audit topic; records of others, and those that cannot be read, tell nothing."""
        if key != self.client.encode():
            return
        codec = CursorCodec(self.epoch, self.partitions)
        try:
            record = _record(value)
            after, written = vector_of(codec, record.after), vector_of(codec, record.written)
            sent, acknowledged = _optional(codec, record.sent), _optional(codec, record.acknowledged)
        except (msgspec.MsgspecError, UnicodeDecodeError, CursorRefused):
            return
        self.records += 1
        self.snapshots = self.snapshots or is_within_snapshot(record.after)
        published = [(partition, offset) for partition, offset in published if partition < self.partitions]
        for partition, offset in published:
            if after[partition] <= offset < written[partition]:
                self._write(record, partition, offset)
        for known in self._of(record.connection_id):
            known.sent = known.sent or _passed(sent, known)
            known.acknowledged = known.acknowledged or _passed(acknowledged, known)
        self._follow(record, all(written[partition] > offset for partition, offset in published))

    def is_complete(self, published: Sequence[Place]) -> bool:
        """Return whether nothing is left to find: each record of the event was acknowledged."""
        acknowledged = {(each.partition, each.offset) for each in self.written if each.acknowledged}
        return acknowledged >= set(published)

    def _write(self, record: "_Record", partition: int, offset: int) -> None:
        known = {(each.partition, each.offset) for each in self._of(record.connection_id)}
        if (partition, offset) not in known and len(self.written) < _KEPT:
            made = Audited(
                record.connection_id,
                record.node,
                record.at,
                partition,
                offset,
                record.channels,
                record.filters,
                record.conflate or 0,
            )
            self.written.append(made)

    def _follow(self, record: "_Record", passed: bool) -> None:  # noqa: FBT001 -- one of two facts of a record
        if record.kind != "closed":
            if record.connection_id in self.behind or len(self.behind) < _KEPT:
                self.behind[record.connection_id] = passed
            return
        self.behind.pop(record.connection_id, None)
        ending = f"{record.code or ''} {record.reason}".strip() or "without a close code"
        for known in self._of(record.connection_id):
            known.ended = ending
        if not passed:
            self.missed = [*self.missed, f"{record.connection_id} at {record.at} ({ending})"][-_KEPT:]

    def _of(self, connection: str) -> Iterable[Audited]:
        return (each for each in self.written if each.connection == connection)


class _Record(msgspec.Struct):
    kind: str
    connection_id: str
    node: str
    at: str
    channels: list[str]
    filters: dict[str, str]
    after: str
    written: str
    conflate: float | None = None
    sent: str | None = None
    acknowledged: str | None = None
    code: int | None = None
    reason: str = ""


_record = msgspec.json.Decoder(_Record).decode


def _optional(codec: CursorCodec, cursor: str | None) -> Vector | None:
    return None if cursor is None else vector_of(codec, cursor)


def _passed(reached: Vector | None, known: Audited) -> bool | None:
    return None if reached is None else reached[known.partition] > known.offset
