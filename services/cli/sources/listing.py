"""Sources as text for a terminal. No I/O."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shared.runtime.redaction import one_line

_TEXT = 60
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def table(sources: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table of sources."""
    rows: list[Sequence[str]] = [("SOURCE", "STATE", "OWNER", "LAG", "EVENTS/S", "PUBLISHED", "REJECTED", "NOTE")]
    rows += [_row(name, source) for name, source in sources.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def details(source: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines about one source."""
    for key, value in source.items():
        match value:
            case None:
                continue
            case dict() | list() if not value:
                continue
            case dict():
                yield f"{key}:"
                yield from (f"  {name or '(all)'}: {_plain(inner)}" for name, inner in value.items())
            case list():
                yield f"{key}:"
                yield from (f"  - {_plain(inner)}" for inner in value)
            case _:
                yield f"{key}: {_plain(value)}"


def rewind(name: str, preview: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines about what a rewind would do."""
    moved = preview["parts_moved"]
    yield f"source {name}: {moved} part{'' if moved == 1 else 's'} of its position would change"
    yield from _position("now", preview["from"])
    yield from _position("then", preview["to"])
    if preview.get("events") is not None:
        yield f"  about {preview['events']} events come again"
    yield "The events in between come again, with the ids that they had."


def reconciled(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines about a comparison with the upstream."""
    yield f"source {found['name']}, {found['from']} to {found['to']}"
    yield f"  upstream   {found['upstream']}"
    yield f"  published  {found['published']} ({found['events']} events)"
    if found["difference"] > 0:
        yield f"  {found['difference']} are not published, or their events are not kept any more"
    elif found["difference"] < 0:
        yield f"  {-found['difference']} are published and not upstream any more"
    else:
        yield "  no difference"
    if not found["complete"]:
        yield "  the topic has not kept all events of this range"


def windows(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table of counts by hour."""
    names = ("rows", "published", "rejected", "skipped")
    yield f"{'HOUR':24}" + "".join(f"  {name.upper():>12}" for name in names)
    for window in found:
        yield f"{window['from']:24}" + "".join(f"  {window[name]:12}" for name in names)


def duration(seconds: float | None) -> str:
    """Return a duration, short."""
    if seconds is None:
        return "-"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h" if seconds < _DAY else f"{seconds / _DAY:.1f} d"


def _row(name: str, source: Mapping[str, Any]) -> Sequence[str]:
    counts = source["counts"]
    return (
        name,
        str(source["state"]),
        str(source["owner"] or "-"),
        duration(source["caught_up_seconds_ago"]),
        f"{source['published_per_second']:g}",
        str(counts["published"]),
        str(counts["rejected"]),
        _note(source),
    )


def _note(source: Mapping[str, Any]) -> str:
    """Return what a reader should know first."""
    notes: list[str] = [source["error"]] if source["error"] else []
    notes += source["problems"]
    if counts := source["counts"]["unaccounted"]:
        notes.append(f"{counts} rows unaccounted for")
    request = source["request"]
    if request is not None and request["state"] == "pending":
        notes.append(f"{request['command']} pending")
    if source["stale"]:
        notes.append(f"as of {source['as_of']}")
    text = _plain("; ".join(notes))
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"


def _position(label: str, position: Mapping[str, str]) -> Iterable[str]:
    if not position:
        return [f"  {label}: the beginning"]
    return [f"  {label}: {f'{part}: ' if part else ''}{_plain(value)}" for part, value in position.items()]


def _plain(value: Any) -> str:
    # Text of an upstream may contain control characters, which must not reach the terminal.
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
