"""The cursor: an opaque position in the stream, from which a subscriber resumes.

It holds, for each partition of the publish topic, the offset of the next record the subscriber has not received.
Layout, in base64url without padding: version (1 byte), digest of the topic's epoch (5 bytes), one varint (LEB128) for
each partition, checksum (2 bytes).
"""

import hashlib
import zlib
from base64 import urlsafe_b64decode
from binascii import Error as NotBase64
from binascii import b2a_base64
from collections.abc import Iterable, Sequence

from shared.errors import Malformed

Vector = tuple[int, ...]
"""The next offset of every partition, by partition."""

_VERSION = b"\x01"
_SNAPSHOT_VERSION = b"\x02"
"""Of a place within a snapshot: `snapshot_cursor.py`."""
_EPOCH_BYTES = 5
_CHECK_BYTES = 2
_HEAD = len(_VERSION) + _EPOCH_BYTES
_TEXT_LIMIT = 16_384
"""Characters. A thousand partitions with offsets above 2**28 take 6,700."""
_OFFSET_LIMIT = 2**63
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class CursorRefused(Malformed):
    """The stream cannot be resumed from this cursor; the gap event carries `reason`."""

    reason = "cursor-refused"


class MalformedCursor(CursorRefused):
    """The cursor is not one of this service's format."""

    reason = "cursor-malformed"


class ForeignCursor(CursorRefused):
    """A valid cursor of another topic, or of this topic before it was recreated."""

    reason = "cursor-foreign"


class CursorCodec:
    """Encodes and decodes the cursors of one epoch of one topic."""

    def __init__(self, epoch: str, partitions: int) -> None:
        self.epoch = epoch
        self.partitions = partitions
        digest = hashlib.blake2s(epoch.encode(), digest_size=_EPOCH_BYTES).digest()
        self._head = _VERSION + digest
        self._snapshot_head = _SNAPSHOT_VERSION + digest

    def encode(self, vector: Sequence[int]) -> bytes:
        """Return the cursor as ASCII that needs no escaping in JSON or in a URL."""
        return _with_checksum(self._head + self.offsets(vector))

    def decode(self, text: str) -> Vector:
        """Return the vector that `encode` was given.

        Raises:
            MalformedCursor: not base64url, another version, truncated, or altered.
            ForeignCursor: of another epoch, or of another number of partitions.
        """
        body = _without_checksum(text)
        if body[: len(_VERSION)] != _VERSION:
            raise MalformedCursor(f"found a cursor of version {body[0]}; expected {_VERSION[0]}")
        self._check(body, self._head)
        vector = self.vector(body[_HEAD:])
        if len(vector) != self.partitions:
            raise ForeignCursor(f"the cursor has {len(vector)} partitions; the topic has {self.partitions}")
        return vector

    # For the cursors of snapshots
    def sealed_snapshot(self, content: bytes) -> bytes:
        """Return the cursor with this content."""
        return _with_checksum(self._snapshot_head + content)

    def opened_snapshot(self, text: str) -> bytes | None:
        """Return the content of a cursor within a snapshot; None if it is another one. Raises what `decode` does."""
        body = _without_checksum(text)
        if body[: len(_SNAPSHOT_VERSION)] != _SNAPSHOT_VERSION:
            return None
        self._check(body, self._snapshot_head)
        return body[_HEAD:]

    @staticmethod
    def offsets(vector: Sequence[int]) -> bytes:
        """Encode a vector."""
        return b"".join(map(_varint, vector))

    @staticmethod
    def vector(data: bytes) -> Vector:
        """Return what `offsets` was given. Raises `MalformedCursor`."""
        return tuple(_varints(data))

    @staticmethod
    def _check(body: bytes, head: bytes) -> None:
        if body[:_HEAD] != head:
            raise ForeignCursor("the cursor belongs to another topic, or to this topic before it was recreated")


class IncrementalCursor:
    """A cursor that advances with each event: only the partition that changed is encoded again."""

    def __init__(self, codec: CursorCodec, vector: Sequence[int]) -> None:
        self._parts = [codec._head, *map(_varint, vector)]  # noqa: SLF001 -- two halves of one codec

    def advance(self, partition: int, offset: int) -> None:
        """Set one partition's next offset."""
        self._parts[partition + 1] = _varint(offset)

    def encoded(self) -> bytes:
        """Return the current cursor."""
        return _with_checksum(b"".join(self._parts))


def _with_checksum(body: bytes) -> bytes:
    checked = body + (zlib.crc32(body) & 0xFFFF).to_bytes(_CHECK_BYTES, "big")
    return b2a_base64(checked, newline=False).rstrip(b"=").translate(_URL_SAFE)


def _without_checksum(text: str) -> bytes:
    if len(text) > _TEXT_LIMIT:
        raise MalformedCursor(f"found a cursor of {len(text)} characters; the limit is {_TEXT_LIMIT}")
    try:
        # Python's decoder ignores characters outside the alphabet; encoding again must give the same text.
        checked = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (UnicodeEncodeError, NotBase64) as exc:
        raise MalformedCursor("the cursor is not base64url") from exc
    body = checked[:-_CHECK_BYTES]
    if len(body) < _HEAD or _with_checksum(body) != text.encode():
        raise MalformedCursor("the cursor is truncated or altered")
    return body


def _varint(number: int) -> bytes:
    """Encode a number in groups of seven bits, the lowest first."""
    if number < 0x80:  # noqa: PLR2004 -- what fits into seven bits
        return bytes((number,))
    groups = bytearray()
    while number > 0x7F:  # noqa: PLR2004
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def _varints(data: bytes) -> Iterable[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if number >= _OFFSET_LIMIT:
            raise MalformedCursor("the cursor holds an offset above 2**63")
        if byte & 0x80:
            continue
        yield number
        number = shift = 0
    if shift:
        raise MalformedCursor("the cursor ends within an offset")
