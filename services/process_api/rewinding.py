"""Rewinds of pipelines: the place that an operator names as an offset of each partition, and what would run again."""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias

from services.process_api.operations.requests import Rewind
from services.process_api.operations.starts import number_of
from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.pipeline.selection import Selection
from services.process_api.worker.poison import Attempts, PoisonTracker
from services.process_api.worker.routing import Refused, Router
from shared.bus.protocol import Bus, Reader
from shared.errors import Malformed, PositionLost, Unavailable
from shared.runtime.clock import Clock, parse_time

Place: TypeAlias = datetime | Mapping[int, int] | Literal["beginning"]
"""A time, an offset by partition, or the earliest event that is kept."""

_EXPECTED = """expected "beginning", {"time": RFC 3339} or {"offsets": {"0": offset, …}}"""
_COUNT_SECONDS = 5.0
"""How long events are counted at most."""
_COUNT_RECORDS = 500_000
_READ_WAIT = 1.0


class Partition(NamedTuple):
    """One partition: from `to` to before `position`, the pipeline runs again."""

    position: int
    to: int


def parse_place(given: object) -> Place:
    """Return the place that an operator names.

    Raises:
        Malformed: it is none, and what was expected.
    """
    match given:
        case "beginning":
            return "beginning"
        case {"time": str(text), **rest} if not rest:
            return parse_time("to.time", text)
        case {"offsets": dict(offsets), **rest} if not rest and offsets:
            return {_partition(number): _offset(offset) for number, offset in offsets.items()}
        case _:
            raise Malformed(f"to: found {json.dumps(given)[:200]}; {_EXPECTED}")


async def plan(bus: Bus, topic: str, positions: Mapping[int, int], place: Place) -> dict[int, Partition]:
    """Return the partitions in which something would run again; `positions` are those of the pipeline.

    Raises:
        Malformed: there is no such partition.
        Unavailable: the bus does not answer.
    """
    bounds = await bus.bounds(topic)
    if isinstance(place, Mapping) and (unknown := sorted(place.keys() - bounds.keys())):
        raise Malformed(f"to.offsets: found partition {unknown[0]}; {topic} has the partitions 0 to {max(bounds)}")
    offsets = await _offsets_of(bus, topic, place, bounds)
    found = {}
    for number, position in sorted(positions.items()):
        if number in offsets and (to := max(offsets[number], bounds[number][0])) < position:
            found[number] = Partition(position, to)
    return found


async def count(
    bus: Bus, topic: str, pipeline: Pipeline, partitions: Mapping[int, Partition], clock: Clock
) -> tuple[dict[int, int], bool]:
    """Return how many events the pipeline would take again by partition, and whether these are all.

    Counts for some seconds at most. Raises `Unavailable`.
    """
    router = Router(Selection([(pipeline.sources, pipeline)]), PoisonTracker({}, Attempts()))
    deadline, left = clock.monotonic() + _COUNT_SECONDS, _COUNT_RECORDS
    found = dict.fromkeys(partitions, 0)
    for number, (position, to) in partitions.items():
        async with bus.reader(topic, {number: to}) as reader:
            while reader.positions[number] < position:
                if clock.monotonic() > deadline or left <= 0:
                    return found, False
                records = await _read(reader, 1000)
                left -= len(records)
                for record in records:
                    routed = router.route(record)
                    if record.offset >= position or isinstance(routed, Refused) or routed[4] is not None:
                        continue
                    origin = None if routed[3] is None else routed[3].origin
                    if origin is not None and origin[0] == number and origin[1] >= to:
                        continue  # the record that it replays runs again
                    found[number] += bool(router.pipelines(routed))
                await clock.sleep(0)
    return found, True


def request(
    epoch: str,
    to: Mapping[int, int],
    place: object,
    by: str,
    clock: Clock,
    *,
    reset_state: bool,
    after: str = "",
) -> Rewind:
    """Return the request to go back to these offsets; `place` is what the operator named, `after` the id before."""
    identity = f"{number_of(after) + 1}-{secrets.token_hex(8)}"
    return Rewind(identity, epoch, dict(to), json.dumps(place), reset_state, by, clock.time())


async def _offsets_of(bus: Bus, topic: str, place: Place, bounds: Mapping[int, tuple[int, int]]) -> Mapping[int, int]:
    if isinstance(place, datetime):
        return await bus.offsets_at(topic, int(place.timestamp() * 1000))
    return {number: earliest for number, (earliest, _) in bounds.items()} if place == "beginning" else place


async def _read(reader: Reader, limit: int) -> Any:
    try:
        return await reader.read(limit, _READ_WAIT)
    except PositionLost as exc:
        raise Unavailable(f"{exc}: retention has just deleted events; try again") from exc


def _partition(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 5:  # noqa: PLR2004 -- there are at most 1000
        raise Malformed(f"to.offsets: found partition {text[:20]!r}; expected its number")
    return int(text)


def _offset(given: object) -> int:
    whole = int(given) if isinstance(given, float) and given.is_integer() else given  # JSON has 2.0 for 2 as well
    if not isinstance(whole, int) or isinstance(whole, bool) or whole < 0:
        raise Malformed(f"to.offsets: found {json.dumps(given)[:60]}; expected an offset, a number from 0 on")
    return whole
