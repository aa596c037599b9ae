"""Reads the end of a topic without a group: nothing is committed, and no member of a group notices."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from shared.bus.protocol import Bus, Reader, Record
from shared.errors import PositionLost, Unavailable
from shared.runtime.clock import Clock

SCAN_LIMIT = 100_000
"""Offsets of one partition that are read at most."""

_GROWTH = 8
_WAIT = 0.5
_SECONDS = 60.0
"""Without a record, after which the bus is considered to be down."""


class Tail:
    """Reads the newest records of topics."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    async def last(self, topic: str, count: int, wanted: Callable[[Record], bool]) -> list[Record]:
        """Return the `count` newest records that are wanted, oldest first: fewer where the topic has fewer.

        Raises:
            Unavailable: the bus does not answer.
        """
        found: dict[int, deque[Record]] = {}
        oldest: dict[int, int] = {}

        def take(record: Record) -> None:
            oldest.setdefault(record.partition, record.timestamp)
            if wanted(record):
                found.setdefault(record.partition, deque(maxlen=count)).append(record)

        def forget() -> None:
            found.clear()
            oldest.clear()

        def newest() -> list[Record]:
            return sorted((record for records in found.values() for record in records), key=_written)[-count:]

        def enough(partition: int) -> bool:
            if len(found.get(partition, ())) >= count:
                return True
            some = newest()
            # Further back, the partition has only records that are older than those.
            return len(some) == count and oldest.get(partition, some[0].timestamp) < some[0].timestamp

        await self._read_back(topic, count, take, forget, enough)
        return newest()

    async def since(self, topic: str, timestamp: int, wanted: Callable[[Record], bool]) -> list[Record]:
        """Return the records that are wanted and written at a time or later, in milliseconds since 1970.

        At most `SCAN_LIMIT` records of each partition are read. Raises what `last` does.
        """
        found: list[Record] = []
        oldest: dict[int, int] = {}

        def take(record: Record) -> None:
            oldest.setdefault(record.partition, record.timestamp)
            if record.timestamp >= timestamp and wanted(record):
                found.append(record)

        def forget() -> None:
            found.clear()
            oldest.clear()

        def enough(partition: int) -> bool:
            return oldest.get(partition, timestamp) < timestamp

        await self._read_back(topic, 1000, take, forget, enough)
        return sorted(found, key=_written)

    async def _read_back(
        self,
        topic: str,
        span: int,
        take: Callable[[Record], None],
        forget: Callable[[], None],
        enough: Callable[[int], bool],
    ) -> None:
        """Read the last `span` offsets of each partition; where that is not enough, begin again with more."""
        bounds = await self._bus.bounds(topic)
        span = min(span, SCAN_LIMIT)
        while True:
            forget()
            starts = {number: max(earliest, end - span) for number, (earliest, end) in bounds.items()}
            await self._read(topic, starts, {number: end for number, (_, end) in bounds.items()}, take)
            more = (number for number, start in starts.items() if start > bounds[number][0] and not enough(number))
            if span >= SCAN_LIMIT or not any(True for _ in more):
                return
            span = min(SCAN_LIMIT, span * _GROWTH)

    async def _read(
        self, topic: str, starts: Mapping[int, int], ends: Mapping[int, int], take: Callable[[Record], None]
    ) -> None:
        async with self._bus.reader(topic, starts) as reader:
            heard = self._clock.monotonic()
            while any(reader.positions[number] < end for number, end in ends.items()):
                records = await _next(reader)
                for record in _below(records, ends):
                    take(record)
                now = self._clock.monotonic()
                if records:
                    heard = now
                elif now - heard > _SECONDS:
                    raise Unavailable(f"{topic}: no record within {_SECONDS:g} s; {self._bus.problem or 'try again'}")


async def _next(reader: Reader) -> Sequence[Record]:
    try:
        return await reader.read(wait=_WAIT)
    except PositionLost as exc:  # retention deleted it meanwhile
        reader.seek(exc.partition, exc.earliest)
        return ()


def _below(records: Iterable[Record], ends: Mapping[int, int]) -> Iterable[Record]:
    return (record for record in records if record.offset < ends[record.partition])


def _written(record: Record) -> tuple[int, int, int]:
    return record.timestamp, record.partition, record.offset
