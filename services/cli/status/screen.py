"""The status of a deployment as text for a terminal. No I/O."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.cli.sources.listing import duration
from shared.runtime.redaction import one_line

_MIB = 1 << 20
_PIPELINES = ("PIPELINE", "STATE", "VERSION", "LAG", "TAKEN", "PUBLISHED", "REJECTED", "HELD")


def lines(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the screen."""
    count = len(status["problems"])
    yield "healthy" if status["healthy"] else f"{count} problem{'' if count == 1 else 's'}"
    yield ""
    yield from _table(("SERVICE", "ADDRESS", "STATE", "VERSION", "UP", "MEMORY", "CONNECTIONS"), _replicas(status))
    if status["sources"]:
        yield ""
        yield from _table(("SOURCE", "STATE", "OWNER", "LAG", "EVENTS/S", "PUBLISHED", "REJECTED"), _sources(status))
    if status["pipelines"]:
        yield ""
        yield from _table(_PIPELINES, _pipelines(status))
    yield ""
    yield from _totals(status)
    for refused in filter(None, (replica["refused"] for replica in status["replicas"])):
        yield f"as metrics show it, because {one_line(refused)}"
    if status["problems"]:
        yield ""
        yield from _table(("PROBLEM", "PLACE", "TEXT"), _problems(status))
        yield "docs/runbooks has a section for each problem."


def _totals(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield the sums; what no replica has answered is unknown, and not zero."""
    connections, lag, dead = status["connections"], status["lag_records"], status["dead_letters"]
    catching_up = "" if connections is None else f", of which catching up: {status['catching_up']}"
    yield f"connections: {_number(connections)}{catching_up}"
    yield f"records that wait for the process layer: {_number(lag)}"
    if dead["unclaimed"] is None:
        yield "dead letters: unknown"
        return
    total = sum(dead["sources"].values()) + sum(dead["pipelines"].values()) + dead["unclaimed"]
    yield f"dead letters: {total:.0f}, of which of no pipeline: {dead['unclaimed']}"


def _number(count: int | None) -> str:
    return "unknown" if count is None else str(count)


def _replicas(status: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for replica in status["replicas"]:
        memory = replica["memory_bytes"]
        yield (
            replica["service"] or "-",
            replica["url"],
            _state(replica),
            replica["version"] or "-",
            duration(replica["uptime_seconds"]),
            f"{memory / _MIB:.0f} MiB" if memory else "-",
            "-" if replica["connections"] is None else str(replica["connections"]),
        )


def _state(replica: Mapping[str, Any]) -> str:
    if replica["error"] is not None:
        return "unreachable"
    if replica["draining"]:
        return "draining"
    return "ready" if replica["ready"] else "not ready"


def _sources(status: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for name, source in status["sources"].items():
        rate = source["per_second"]
        yield (
            name,
            source["state"],
            source["owner"] or "-",
            duration(source["lag_seconds"]),
            "-" if rate is None else f"{rate:g}",
            str(source["published"]),
            str(source["rejected"]),
        )


def _pipelines(status: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for name, pipeline in status["pipelines"].items():
        held = pipeline["held_seconds"]
        yield (
            name,
            pipeline["state"] or "-",
            str(pipeline["version"] or "-"),
            "-" if pipeline["lag_records"] is None else str(pipeline["lag_records"]),
            str(pipeline["taken"]),
            str(pipeline["published"]),
            str(pipeline["rejected"]),
            duration(held) if held else "-",
        )


def _problems(status: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    return ((problem["alert"], problem["place"], problem["text"]) for problem in status["problems"])


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    # Text of an upstream may contain control characters, which must not reach the terminal.
    cells = [list(heads), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
