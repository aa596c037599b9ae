"""A delivery, and what comes of storing several of them at once. No I/O."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from hashlib import blake2b

_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a sender delivered in one request."""

    id: str | None
    """What identifies it; None: a repeat is not recognised."""
    body: bytes
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """The headers that the settings name, by their names there."""

    @property
    def digest(self) -> bytes | None:
        """A digest of the id: two ids have different ones."""
        if self.id is None:
            return None
        return blake2b(self.id.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery in the inbox."""

    position: int
    """Its place in the order of arrival: 1 for the first delivery of the source, without gaps."""
    received_at: float
    """In seconds since 1970."""
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Fill:
    """How much the inbox of one source holds."""

    epoch: str
    """Identifies this inbox: another one of the source has another epoch."""
    position: int
    """That of the newest delivery, published or not; 0: there was none."""
    rows: int
    """Deliveries that wait."""
    bytes: int
    """Bytes of their bodies."""
    ids: int
    """Ids that are remembered."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the inbox of one source may hold."""

    rows: int
    bytes: int

    def full(self, rows: int, size: int) -> bool:
        """Whether nothing more may be stored."""
        return rows >= self.rows or size >= self.bytes


class Outcome(Enum):
    """What came of one delivery."""

    STORED = auto()
    REPEATED = auto()
    """It is stored already, or was published."""
    FULL = auto()
    """It is not stored, because the inbox is full."""


def plan(deliveries: Sequence[Delivery], known: Collection[bytes], fill: Fill, limits: Limits) -> list[Outcome]:
    """Return what comes of each delivery, in order; `known` are the digests that are remembered of them."""
    seen, rows, size = set(known), fill.rows, fill.bytes
    outcomes = []
    for delivery in deliveries:
        digest = delivery.digest
        if digest is not None and digest in seen:
            outcomes.append(Outcome.REPEATED)
        elif limits.full(rows, size):
            outcomes.append(Outcome.FULL)
        else:
            outcomes.append(Outcome.STORED)
            rows, size = rows + 1, size + len(delivery.body)
            if digest is not None:
                seen.add(digest)
    return outcomes
