"""Dead letters as text for a terminal. No I/O."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.runtime.redaction import one_line

_ERROR = 80
_COLUMNS = ("ID", "TIME", "STATUS", "STAGE", "SOURCE", "PIPELINE", "TRIES", "ERROR")
_GROUP_COLUMNS = ("COUNT", "STAGE", "SOURCE", "PIPELINE", "OLDEST", "NEWEST", "EXAMPLE", "ERROR")


def table(letters: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table of letters."""
    yield from _aligned([_COLUMNS, *map(_row, letters)])


def counts(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a table of counts by cause."""
    yield f"{found['total']} letter{'' if found['total'] == 1 else 's'}"
    yield from _aligned([_GROUP_COLUMNS, *map(_group, found["groups"])] if found["groups"] else [])
    if found["ungrouped"]:
        yield f"and {found['ungrouped']} of further causes"


def details(letter: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines about one letter, without its input."""
    for name, value in letter.items():
        match value:
            case None | "":
                continue
            case dict() if not value:
                continue
            case dict():
                yield f"{name}:"
                yield from (f"  {inner}: {_plain(each)}" for inner, each in value.items())
            case _:
                yield f"{name}: {_plain(value)}"


def lines(text: str) -> Iterator[str]:
    """Yield the lines of an event or an input."""
    yield from map(_plain, text.splitlines())


def decided(found: Mapping[str, Any], done: str) -> Iterator[str]:
    """Yield the lines about a replay or drop, or about its dry run; `done` is `replayed` or `dropped`."""
    count = found[done]
    letters = f"{count} letter{'' if count == 1 else 's'}"
    yield f"{letters} would be {done}" if found["dry_run"] else f"{letters} {done}"
    if found["decided_before"]:
        yield f"  {found['decided_before']} had been decided on before"
    if found["refused"]:
        yield f"  {found['refused']} cannot be {done}:"
        yield from (f"    {each['id']}: {_plain(each['reason'])}" for each in found["refusals"])
        if found["refused"] > len(found["refusals"]):
            yield f"    and {found['refused'] - len(found['refusals'])} more"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _group(group: Mapping[str, Any]) -> Sequence[str]:
    return (
        str(group["count"]),
        group["stage"],
        _plain(group["source"]) or "-",
        _plain(group["pipeline"]) or "-",
        group["oldest"],
        group["newest"],
        group["example"],
        _shortened(group["error"]),
    )


def _row(letter: Mapping[str, Any]) -> Sequence[str]:
    return (
        letter["id"],
        letter["time"],
        letter["status"],
        letter["stage"],
        _plain(letter["source"]) or "-",
        _plain(letter["pipeline"].partition("@")[0]) or "-",
        str(letter["attempts"]),
        _shortened(letter["error"]),
    )


def _shortened(error: str) -> str:
    text = _plain(error)
    return text if len(text) <= _ERROR else f"{text[: _ERROR - 1]}…"


def _plain(value: Any) -> str:
    # Text of an upstream may contain control characters, which must not reach the terminal.
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
