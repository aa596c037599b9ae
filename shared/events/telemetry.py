"""The trace an event belongs to, from its source to its frame: W3C Trace Context, the header `traceparent`.

See https://www.w3.org/TR/trace-context/#traceparent-header. Trelay carries it and starts one where there is none; it
needs no tracing library for that.
"""

import random
import re
from typing import NamedTuple, Self

from shared.errors import Malformed

# A later version may append fields; version ff is forbidden, and so are ids of zeros alone.
_FORM = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_LIMIT = 512
_SAMPLED = 0x01


class Traceparent(NamedTuple):
    """One span of one trace."""

    trace: str
    """32 hexadecimal digits."""
    span: str
    """16 hexadecimal digits."""
    sampled: bool = True

    def __str__(self) -> str:
        """Write it as version 00, the only one there is."""
        return f"00-{self.trace}-{self.span}-{'01' if self.sampled else '00'}"

    def child(self, rng: random.Random) -> Self:
        """Return the next span of the same trace."""
        return self._replace(span=_identity(rng, 64))


def parse(text: str) -> Traceparent:
    """Read a traceparent.

    Raises:
        Malformed: it is not of the form of the standard.
    """
    found = _FORM.fullmatch(text) if len(text) <= _LIMIT else None
    if found is None or (found["version"] == "00" and found["more"] is not None):
        raise Malformed(f"traceparent {text[:80]!r} is not of the form of W3C Trace Context")
    return Traceparent(found["trace"], found["span"], sampled=bool(int(found["flags"], 16) & _SAMPLED))


def begin(rng: random.Random) -> Traceparent:
    """Start a trace."""
    return Traceparent(_identity(rng, 128), _identity(rng, 64))


def go_on(header: str | None, rng: random.Random) -> Traceparent:
    """Return the next span of a caller's trace; a new trace where it sent none, or nonsense, as the standard says."""
    if header is None:
        return begin(rng)
    try:
        return parse(header).child(rng)
    except Malformed:
        return begin(rng)


def _identity(rng: random.Random, bits: int) -> str:
    return f"{rng.getrandbits(bits) or 1:0{bits // 4}x}"
