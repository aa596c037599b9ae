"""Compares what a version of a pipeline makes of an event with what was published. Sans-I/O."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from shared.bus.protocol import Record
from shared.expression import exact

_decode = msgspec.json.Decoder().decode


class Kind(StrEnum):
    """How the new result of one event differs."""

    SAME = "same"
    CHANGED = "changed"
    ONLY_NEW = "only_new"
    """Nothing was published."""
    ONLY_OLD = "only_old"
    """Nothing would be published."""
    NEW = "new"
    """There is nothing to compare with: the event was not processed yet, or the pipeline keeps state."""
    DEAD_LETTER = "dead_letter"
    WAITS = "waits"
    """A step needs an answer of another system."""


MARKS = {
    Kind.SAME: "=",
    Kind.CHANGED: "~",
    Kind.ONLY_NEW: "+",
    Kind.ONLY_OLD: "-",
    Kind.NEW: "*",
    Kind.DEAD_LETTER: "!",
    Kind.WAITS: "?",
}


class Compared(NamedTuple):
    """One event, and what becomes of it."""

    id: str
    place: str
    """Its topic, partition and offset."""
    kind: Kind
    old: Sequence[Any] = ()
    """The published events."""
    new: Sequence[Any] = ()
    """Those that would be published."""
    error: str = ""
    """Of a dead letter, or of what waits."""

    def lines(self) -> list[str]:
        """Return what is printed."""
        said = f"{MARKS[self.kind]} {self.id} ({self.place}): {self.kind.value}{self.error and f': {self.error}'}"
        return [said, *(f"    {line}" for line in self._shown())]

    def _shown(self) -> list[str]:
        if self.kind is Kind.SAME:
            return []
        if not self.old:
            return [json.dumps(event, ensure_ascii=False) for event in self.new]
        before, after = _pretty(self.old), _pretty(self.new)
        return list(difflib.unified_diff(before, after, lineterm="", n=3))[2:]


def shadow_lines(found: Mapping[str, Any]) -> list[str]:
    """Return what is printed of a shadow: `found` is the answer of `GET /pipelines/{name}/shadow`."""
    counts = ", ".join(f"{count} {result}" for result, count in found["results"].items() if count)
    lines = [f"{found['name']}: version {found['version']} on {found['replica']}: {counts or 'no events'}"]
    for each in found["differences"]:
        error = f": {each['error']}" if each["error"] else ""
        lines.append(f"{each['time']} {each['result']} ({each['place']}){error}")
        shown = difflib.unified_diff(_pretty(each["old"] or ()), _pretty(each["new"]), lineterm="", n=3)
        lines += [f"    {line}" for line in list(shown)[2:]]
    return lines


def kind_of(old: Sequence[bytes], new: Sequence[bytes], *, comparable: bool) -> Kind:
    """Return how the events of two versions differ: bytes of events with their channels, in order."""
    if not comparable:
        return Kind.NEW
    if _values(old) == _values(new):
        return Kind.SAME
    if not old:
        return Kind.ONLY_NEW
    return Kind.CHANGED if new else Kind.ONLY_OLD


def _values(events: Iterable[bytes]) -> list[Any]:
    return [exact.comparable(exact.value(each)) for each in events]


def decoded(values: Iterable[bytes]) -> list[Any]:
    """Return events as values."""
    return [_decode(value) for value in values]


def by_provenance(records: Iterable[tuple[bytes, Record]]) -> dict[bytes, list[Record]]:
    """Group published records by the provenance of the event that they were made of; each comes with it."""
    found: dict[bytes, list[Record]] = {}
    for provenance, record in records:
        found.setdefault(provenance, []).append(record)
    return found


def on_channels(records: Iterable[Record], channels: frozenset[bytes] | None) -> list[bytes]:
    """Return the events of records on some channels; None: on all."""
    return [record.value or b"" for record in records if channels is None or record.key in channels]


def _pretty(events: Iterable[Any]) -> list[str]:
    return [line for event in events for line in json.dumps(event, indent=2, ensure_ascii=False).splitlines()]
