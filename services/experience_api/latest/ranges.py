"""Ranges of channels in their order, by which the latest events of some patterns are found in an index. Sans-I/O."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

_AFTER_NAME = "!"
"""Comes before every character that a channel may have."""
_AFTER_DOT = "/"
"""Comes after the dot."""
_AFTER_ALL = "~"


class ChannelRange(NamedTuple):
    """Channels from `low` on and below `high`, of which those are meant that match."""

    low: str
    high: str
    names: tuple[str, ...] | None
    """Channels that are meant; None if all of the range are."""
    expression: str
    """A regular expression of POSIX for others that are meant; `$^` if there are none."""


@dataclass(slots=True)
class _Span:
    low: str
    high: str
    every: bool
    names: list[str] = field(default_factory=list)
    wildcards: list[str] = field(default_factory=list)


def ranges_of(patterns: Iterable[str]) -> list[ChannelRange]:
    """Return the ranges that hold all channels that match any of the patterns, in order. They do not overlap."""
    found: list[_Span] = []
    # A range begins with a name or with whole words, so two of them are apart, or one lies within the other.
    for span in sorted(map(_span, patterns), key=lambda span: span.low):
        if found and span.low < found[-1].high:
            outer = found[-1]
            outer.every = outer.every or (span.every and span.low == outer.low)
            outer.names += span.names
            outer.wildcards += span.wildcards
        else:
            found.append(span)
    return [_range(span) for span in found]


def _span(pattern: str) -> _Span:
    before, star, _ = pattern.partition("*")
    if not star:
        return _Span(pattern, pattern + _AFTER_NAME, every=True, names=[pattern])
    every = pattern == before + "**"
    if not before:
        return _Span("", _AFTER_ALL, every=every, wildcards=[pattern])
    return _Span(before, before[:-1] + _AFTER_DOT, every=every, wildcards=[pattern])


def _range(span: _Span) -> ChannelRange:
    if span.every:
        return ChannelRange(span.low, span.high, None, "$^")
    alternatives = "|".join(sorted(map(_expression, set(span.wildcards))))
    return ChannelRange(span.low, span.high, tuple(sorted(set(span.names))), f"^({alternatives})$")


def _expression(pattern: str) -> str:
    words = {"*": r"[^.]+", "**": ".+"}
    return r"\.".join(words.get(word) or re.escape(word) for word in pattern.split("."))
