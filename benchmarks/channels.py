"""Measures what many channels and subscriptions cost: one event, one arrival and one departure of a subscriber, with
one subscription and with 100,000, each to a channel of its own. The figures are CPU, and their ratio to one
subscription.

An event is a record of the bus that is encoded, kept in the history and written to its one subscriber, each by itself:
what comes together for one subscriber is written together, so that with one subscription a crowd of events costs less.
"""

import argparse
import asyncio
import os
import random
import time
from collections.abc import Iterator
from typing import NamedTuple, cast
from uuid import uuid4

from benchmarks.measuring import as_services_run
from services.experience_api.hub.audience import Subscriber, interest_in
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.hub import Hub, HubOptions
from services.experience_api.hub.outbox import Outbox
from services.experience_api.stream.history import History, HistoryOptions
from services.experience_api.wire.cursor import CursorCodec
from services.experience_api.wire.deflate import CompressionOptions, Deflater
from services.experience_api.wire.records import FrameEncoder
from shared.runtime.clock import SYSTEM_CLOCK

_WARM = 2000
_ARRIVALS = 2000


class _Transport:
    """Stands in for a transport whose buffer is empty."""

    def write(self, data: bytes | memoryview) -> None:  # noqa: ARG002 -- the protocol's
        raise AssertionError("the descriptor accepts everything")

    def get_write_buffer_size(self) -> int:
        return 0


class _Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: tuple[()]


class _Costs(NamedTuple):
    """Microseconds of CPU."""

    same: float
    """An event of one channel, always the same."""
    event: float
    """An event of any channel: its subscriber is not in the caches of the processor."""
    arrival: float
    departure: float


KINDS = {"names": ("users.{}", "users.{}"), "patterns": ("users.{}.*", "users.{}.orders")}
"""What subscriber N subscribes to, and the channel of its events."""


def _connections(pattern: str, numbers: range, descriptor: int) -> Iterator[Connection]:
    for number in numbers:
        subscriber = Subscriber(uuid4(), f"client-{number}", interest_in([pattern.format(number)]))
        outbox = Outbox(_Transport(), descriptor, 2**20)
        yield Connection(subscriber, outbox, cast("asyncio.Transport", _Transport()), asyncio.Protocol(), _ignore)


def _ignore(_connection: Connection) -> None:
    """Do nothing."""


def _records(channel: str, subscriptions: int, events: int, rng: random.Random) -> list[_Record]:
    data = b"x" * 150
    records = []
    for offset in range(events):
        name = channel.format(rng.randrange(subscriptions)).encode()
        value = b'{"specversion":"1.0","id":"%d","source":"/s","type":"t","channel":"%b","data":"%b"}'
        records.append(_Record("trelay.publish", offset % 4, offset, 0, name, value % (offset, name, data), ()))
    return records


def _cpu(work: Iterator[object]) -> float:
    began = time.process_time()
    for _ in work:
        pass
    return time.process_time() - began


def measure(kind: str, subscriptions: int, events: int, rng: random.Random) -> _Costs:
    """Measure one kind of subscription, with so many of them."""
    pattern, channel = KINDS[kind]
    codec = CursorCodec("epoch", 4)
    history = History(codec, (0, 0, 0, 0), HistoryOptions())
    hub, encoder = Hub(HubOptions(), SYSTEM_CLOCK, Deflater(CompressionOptions())), FrameEncoder(codec, (0, 0, 0, 0))
    descriptor = os.open(os.devnull, os.O_WRONLY)

    def deliver(records: list[_Record]) -> Iterator[None]:
        for record in records:
            for batch in encoder.batches([record]):
                before = history.head
                history.extend(batch)
                hub.deliver(batch, before, lambda *_: None)
            yield

    def arrive(connections: list[Connection]) -> Iterator[None]:
        for connection in connections:
            hub.add(connection)
            hub.join(connection)
            yield

    def depart(connections: list[Connection]) -> Iterator[None]:
        for connection in connections:
            hub.remove(connection)
            yield

    try:
        _cpu(arrive(list(_connections(pattern, range(subscriptions), descriptor))))
        _cpu(deliver(_records(channel, subscriptions, _WARM, rng)))
        same = _cpu(deliver(_records(channel, 1, events, rng))) / events
        event = _cpu(deliver(_records(channel, subscriptions, events, rng))) / events
        assert hub.counts.deliveries == 2 * events + _WARM, "each event has one subscriber"
        new = list(_connections(pattern, range(subscriptions, subscriptions + _ARRIVALS), descriptor))
        arrival, departure = _cpu(arrive(new)) / _ARRIVALS, _cpu(depart(new)) / _ARRIVALS
    finally:
        os.close(descriptor)
    return _Costs(same * 1e6, event * 1e6, arrival * 1e6, departure * 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--subscriptions", type=int, nargs="+", default=[1, 1000, 10_000, 100_000])
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)
    as_services_run()
    print(
        f"{'CPU':<10}{'subscriptions':>14}{'one channel':>20}{'any channel':>20}{'an arrival':>20}{'a departure':>20}"
    )
    for kind in KINDS:
        first: _Costs | None = None
        for subscriptions in chosen.subscriptions:
            found = [measure(kind, subscriptions, chosen.events, rng) for _ in range(chosen.turns)]
            best = _Costs(*(min(costs) for costs in zip(*found, strict=True)))
            first = first or best
            cells = (f"{cost:>9.2f} µs {cost / one:>5.2f} x" for cost, one in zip(best, first, strict=True))
            print(f"{kind:<10}{subscriptions:>14,}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
