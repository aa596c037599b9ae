"""A cursor: the opaque place in the stream that a subscriber resumes from.

It says which records of the publish topic a subscriber is through with: for each partition, the offset of the first
one it is not. Layout, in base64url without padding: version (1 byte), digest of the topic's epoch (5 bytes), one
varint (LEB128) for each partition, check sum (2 bytes).
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
_EPOCH_BYTES = 5
_CHECK_BYTES = 2
_HEAD = len(_VERSION) + _EPOCH_BYTES
_TEXT_LIMIT = 16_384
"""Characters. A thousand partitions with offsets above 2**28 take 6,700."""
_OFFSET_LIMIT = 2**63
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class CursorRefused(Malformed):
    """Nothing can be resumed from this; `reason` is what the subscriber is told."""

    reason = "cursor-refused"


class MalformedCursor(CursorRefused):
    """This service never made such a cursor."""

    reason = "cursor-malformed"


class ForeignCursor(CursorRefused):
    """A good cursor, but of another topic, or of the topic before it was made anew."""

    reason = "cursor-foreign"


class CursorCodec:
    """Writes and reads the cursors of one topic, in one epoch of it."""

    def __init__(self, epoch: str, partitions: int) -> None:
        self.epoch = epoch
        self.partitions = partitions
        self._head = _VERSION + hashlib.blake2s(epoch.encode(), digest_size=_EPOCH_BYTES).digest()

    def encode(self, vector: Sequence[int]) -> bytes:
        """Return the cursor as ASCII that needs no quoting, neither in JSON nor in a URL."""
        return _seal(self._head + b"".join(map(_varint, vector)))

    def decode(self, text: str) -> Vector:
        """Return what `encode` was given.

        Raises:
            MalformedCursor: not base64url, another version, cut short, or altered.
            ForeignCursor: of another epoch, or of another number of partitions.
        """
        body = _open(text)
        if body[: len(_VERSION)] != _VERSION:
            raise MalformedCursor(f"cursor of version {body[0]}, expected {_VERSION[0]}")
        if body[:_HEAD] != self._head:
            raise ForeignCursor("the cursor belongs to another topic, or to this one before it was made anew")
        vector = tuple(_varints(body[_HEAD:]))
        if len(vector) != self.partitions:
            raise ForeignCursor(f"the cursor knows {len(vector)} partitions, the topic has {self.partitions}")
        return vector


class CursorTrail:
    """A cursor that moves: encodes only the partition that changed, for there is one cursor an event."""

    def __init__(self, codec: CursorCodec, vector: Sequence[int]) -> None:
        self._parts = [codec._head, *map(_varint, vector)]  # noqa: SLF001 -- two halves of one codec

    def move(self, partition: int, offset: int) -> None:
        """Set one partition's next offset."""
        self._parts[partition + 1] = _varint(offset)

    def text(self) -> bytes:
        """Return the cursor as it is now."""
        return _seal(b"".join(self._parts))


def _seal(body: bytes) -> bytes:
    sealed = body + (zlib.crc32(body) & 0xFFFF).to_bytes(_CHECK_BYTES, "big")
    return b2a_base64(sealed, newline=False).rstrip(b"=").translate(_URL_SAFE)


def _open(text: str) -> bytes:
    """Undo `_seal`."""
    if len(text) > _TEXT_LIMIT:
        raise MalformedCursor(f"a cursor of {len(text)} characters, the limit is {_TEXT_LIMIT}")
    try:
        # Python's decoder passes over characters that are not of the alphabet; the way back must give the same text.
        sealed = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (UnicodeEncodeError, NotBase64) as exc:
        raise MalformedCursor("the cursor is not base64url") from exc
    body = sealed[:-_CHECK_BYTES]
    if len(body) < _HEAD or _seal(body) != text.encode():
        raise MalformedCursor("the cursor was cut short or altered")
    return body


def _varint(number: int) -> bytes:
    """Write a number in groups of seven bits, the lowest first."""
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
