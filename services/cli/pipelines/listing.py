"""What `trelay pipelines` prints. No I/O."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_HEADINGS = ("PIPELINE", "STATE", "VERSION", "LAG", "EVENTS/S", "REJECTED", "REPLICAS")


def table(pipelines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each pipeline, below their headings."""
    rows = [_HEADINGS, *(_row(name, pipeline) for name, pipeline in sorted(pipelines.items()))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def details(pipeline: Mapping[str, Any]) -> Iterator[str]:
    """Yield all that is known of one pipeline, a member a line."""
    yield f"{pipeline['name']}: {pipeline['state']}"
    yield f"  version    {pipeline['version']}{_other_versions(pipeline)}"
    yield f"  sources    {', '.join(pipeline['sources'])}"
    yield f"  channel    {pipeline['channel'] or 'set by a step'}"
    yield f"  steps      {', '.join(pipeline['steps']) or 'none'}{' (keeps state)' if pipeline['stateful'] else ''}"
    events, rates = pipeline["events"], pipeline["rates"]
    yield f"  events     {events['taken']} taken, {events['published']} published, {events['dead_letters']} rejected"
    yield f"  rate       {rates['published_per_second']:g} published a second"
    for place, size in pipeline["state_size"].items():
        yield f"  state      {place}: {size['keys']} keys, {size['bytes']} bytes"
    if paused := pipeline["paused"]:
        reason = f": {paused['reason']}" if paused["reason"] else ""
        yield f"  paused     by {paused['by']} at {paused['at']}{reason}"
    for held in pipeline["held"]:
        yield f"  held       partition {held['partition']} by {held['step']} since {held['since']}: {held['error']}"
    if error := pipeline["last_error"]:
        yield f"  last error {error['at']}, {error['origin']}: {error['error']}"
    if rewind := pipeline["rewind"]:
        yield f"  rewind     to {rewind['to']} by {rewind['by']} at {rewind['at']}: {rewind['state']}"
    for part, reason in pipeline.get("unknown", {}).items():
        yield f"  unknown    {part}: {reason}"
    for number, partition in pipeline["partitions"].items():
        yield f"  partition {number}: {_partition(partition)}"


def plan(name: str, planned: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a rewind would run again."""
    for number, each in planned["partitions"].items():
        yield f"partition {number}: from offset {each['to']} to before {each['position']}, {each['events']} events"
    if not planned["partitions"]:
        yield f"{name} has not passed that place in any partition: nothing would run again"
        return
    events = f"{planned['events']} events" if planned["exact"] else f"at least {planned['events']} events"
    yield f"{name} would take {events} again"
    if planned["refused"]:
        yield f"refused: {planned['refused']}"


def _row(name: str, pipeline: Mapping[str, Any]) -> Sequence[str]:
    lag = "?" if pipeline["lag"] is None else str(pipeline["lag"])
    rate = f"{pipeline['rates']['published_per_second']:g}"
    return (
        name, pipeline["state"], pipeline["version"], lag, rate, str(pipeline["events"]["dead_letters"]),
        str(len(pipeline["replicas"])),
    )  # fmt: skip


def _other_versions(pipeline: Mapping[str, Any]) -> str:
    others = [
        f"{node}: {replica['version'] or 'none'}"
        for node, replica in pipeline["replicas"].items()
        if replica["version"] != pipeline["version"]
    ]
    return f" (other replicas have another one: {', '.join(others)})" if others else ""


def _partition(partition: Mapping[str, Any]) -> str:
    where = partition["replica"] or "no replica"
    if "position" not in partition:
        return where
    return f"{where}, at {partition['position']} of {partition['end']}, {partition['waiting']} waiting"
