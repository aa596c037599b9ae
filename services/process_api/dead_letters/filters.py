"""Which dead letters a request is about. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from services.process_api.dead_letters.letter import Letter
from shared.errors import Malformed
from shared.runtime.clock import parse_time

TEXT_LIMIT = 500
"""Characters of a member that filters."""


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """What a letter must have; None where anything will do. In texts, `*` stands for any characters."""

    pipeline: str | None = None
    """The pipeline that refused it, by name or with its version; empty: none did."""
    source: str | None = None
    stage: str | None = None
    error: str | None = None
    """A part of the error, in any case of letters."""
    since: str | None = None
    """Written at this time or later (RFC 3339)."""
    until: str | None = None
    """Written before this time."""

    @classmethod
    def parse(cls, given: Mapping[str, object]) -> Self:
        """Take the members of a request that filter.

        Raises:
            Malformed: one is no text, or no time.
        """
        found: dict[str, str] = {}
        for name in FILTERS & given.keys():
            value = given[name]
            if not isinstance(value, str) or len(value) > TEXT_LIMIT:
                raise Malformed(f"{name}: expected text of at most {TEXT_LIMIT} characters")
            found[name] = value
        for name in ("since", "until"):
            if name in found:
                _ = parse_time(name, found[name])
        return cls(**found)

    @property
    def empty(self) -> bool:
        """Whether every letter passes."""
        return all(getattr(self, name) is None for name in FILTERS)


FILTERS = frozenset(each.name for each in fields(LetterFilter))
"""The names of the members that filter."""


class Matcher:
    """A filter, compiled."""

    def __init__(self, wanted: LetterFilter) -> None:
        self._pipeline = _glob(wanted.pipeline)
        self._source = _glob(wanted.source)
        self._stage = _glob(wanted.stage)
        self._error = None if wanted.error is None else _Glob(wanted.error, anywhere=True)
        self._versioned = "@" in (wanted.pipeline or "")
        self._since = _milliseconds(wanted.since)
        self._until = _milliseconds(wanted.until)

    def matches(self, letter: Letter) -> bool:
        """Whether a letter passes. The source is looked at last, for it may have to be read from the event."""
        if self._since is not None and letter.timestamp < self._since:
            return False
        if self._until is not None and letter.timestamp >= self._until:
            return False
        name = letter.pipeline if self._versioned else letter.pipeline_name
        return (
            _passes(self._pipeline, name)
            and _passes(self._stage, letter.stage)
            and _passes(self._error, letter.error)
            and (self._source is None or _passes(self._source, letter.source))
        )


class _Glob:
    """Matches text in which `*` stands for any characters, in linear time."""

    def __init__(self, text: str, *, anywhere: bool = False) -> None:
        """With `anywhere`, a part of the text is enough, in any case of letters."""
        self._folded = anywhere
        wanted = f"*{text.casefold()}*" if anywhere else text
        self._first, *rest = wanted.split("*")
        self._last = rest.pop() if rest else None
        self._between = rest

    def matches(self, text: str) -> bool:
        if self._folded:
            text = text.casefold()
        if self._last is None:
            return text == self._first
        at, end = len(self._first), len(text) - len(self._last)
        if end < at or not text.startswith(self._first) or not text.endswith(self._last):
            return False
        for part in self._between:
            found = text.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True


def _passes(wanted: _Glob | None, text: str) -> bool:
    return wanted is None or wanted.matches(text)


def _glob(text: str | None) -> _Glob | None:
    return None if text is None else _Glob(text)


def _milliseconds(text: str | None) -> float | None:
    return None if text is None else parse_time("time", text).timestamp() * 1000
