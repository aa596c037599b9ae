"""The cursor of a place within a snapshot.

It says where the stream begins behind the snapshot, and after which subject the snapshot continues. Layout, in
base64url as of `cursor.py`: version (1 byte), digest of the topic's epoch (5 bytes), digest of what is received (4
bytes), digest of the subject (16 bytes), length of the channel (1 byte), channel, one varint for each partition,
checksum (2 bytes).
"""

from typing import Final, NamedTuple

from services.experience_api.wire.cursor import CursorCodec, ForeignCursor, MalformedCursor, Vector

DIGEST_BYTES: Final = 16
INTEREST_BYTES: Final = 4


class Place(NamedTuple):
    """The subject that was sent last: snapshots have the order of channels, and of digests within a channel."""

    channel: str
    digest: bytes


START = Place("", bytes(DIGEST_BYTES))
"""The place before every subject, and before the subscriber is told that the snapshot begins."""
BEGUN = Place("", bytes(DIGEST_BYTES - 1) + b"\x01")
"""The place before every subject once it is told."""


class SnapshotCursor(NamedTuple):
    """What such a cursor says."""

    vector: Vector
    """Where the stream begins once the snapshot is complete."""
    interest: bytes
    """A digest of what is received: the place says nothing about other channels."""
    place: Place


class SnapshotEncoder:
    """Encodes the cursors of one snapshot."""

    def __init__(self, codec: CursorCodec, vector: Vector, interest: bytes) -> None:
        self._codec = codec
        self._interest = interest
        self._offsets = codec.offsets(vector)

    def encode(self, place: Place) -> bytes:
        """Return the cursor as ASCII that needs no escaping in JSON or in a URL."""
        channel = place.channel.encode()
        body = b"%b%b%c%b%b" % (self._interest, place.digest, len(channel), channel, self._offsets)
        return self._codec.sealed_snapshot(body)


def read_cursor(codec: CursorCodec, text: str) -> Vector | SnapshotCursor:
    """Return what a cursor says: a place in the stream, or one within a snapshot.

    Raises:
        MalformedCursor: not base64url, another version, truncated, or altered.
        ForeignCursor: of another epoch, or of another number of partitions.
    """
    body = codec.opened_snapshot(text)
    if body is None:
        return codec.decode(text)
    digest_at = INTEREST_BYTES
    length_at = digest_at + DIGEST_BYTES
    if len(body) <= length_at or len(body) <= (offsets_at := length_at + 1 + body[length_at]):
        raise MalformedCursor("the cursor ends within its place")
    vector = codec.vector(body[offsets_at:])
    if len(vector) != codec.partitions:
        raise ForeignCursor(f"the cursor has {len(vector)} partitions; the topic has {codec.partitions}")
    try:
        channel = body[length_at + 1 : offsets_at].decode("ascii")
    except UnicodeDecodeError as exc:
        raise MalformedCursor("the cursor names no channel") from exc
    if not channel.isprintable():
        raise MalformedCursor("the cursor names no channel")
    return SnapshotCursor(vector, body[:digest_at], Place(channel, body[digest_at:length_at]))


def vector_of(codec: CursorCodec, text: str) -> Vector:
    """Return where a cursor is in the stream; one within a snapshot is where the stream begins.

    Raises:
        CursorRefused: as `read_cursor`.
    """
    found = read_cursor(codec, text)
    return found.vector if isinstance(found, SnapshotCursor) else found


def is_within_snapshot(text: str) -> bool:
    """Return whether a cursor, if it is valid, is one of a snapshot."""
    return text[:1] == "A" and "g" <= text[1:2] <= "v"  # the version 2, and four bits that follow it
