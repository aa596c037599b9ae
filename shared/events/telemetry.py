"""The trace that an event belongs to, from its source to its frame: the header `traceparent` of W3C Trace Context.

Trelay propagates it, and starts a trace where there is none. That needs no tracing library.
Source: https://www.w3.org/TR/trace-context/#traceparent-header
"""

import random
import re
from typing import NamedTuple, Self

from shared.errors import Malformed

# A later version may append fields; version ff and ids of zeros alone are forbidden.
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
        """Return the header in version 00, the only one that is published."""
        return f"00-{self.trace}-{self.span}-{'01' if self.sampled else '00'}"

    def child(self, rng: random.Random) -> Self:
        """Return the next span of the same trace."""
        return self._replace(span=_identity(rng, 64))


def parse(text: str) -> Traceparent:
    """Read a traceparent.

    Raises:
        Malformed: the text does not have the form of the standard.
    """
    found = _FORM.fullmatch(text) if len(text) <= _LIMIT else None
    if found is None or (found["version"] == "00" and found["more"] is not None):
        raise Malformed(f"traceparent: found {text[:80]!r}; expected the form of W3C Trace Context")
    return Traceparent(found["trace"], found["span"], sampled=bool(int(found["flags"], 16) & _SAMPLED))


def new_trace(rng: random.Random) -> Traceparent:
    """Return the first span of a new trace."""
    return Traceparent(_identity(rng, 128), _identity(rng, 64))


def continue_trace(header: str | None, rng: random.Random) -> Traceparent:
    """Return the next span of a caller's trace; a new trace where the header is absent or malformed (section 4)."""
    if header is None:
        return new_trace(rng)
    try:
        return parse(header).child(rng)
    except Malformed:
        return new_trace(rng)


def _identity(rng: random.Random, bits: int) -> str:
    return f"{rng.getrandbits(bits) or 1:0{bits // 4}x}"
