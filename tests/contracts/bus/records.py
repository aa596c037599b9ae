"""Shortcuts of the suite to write and to read."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from shared.bus.protocol import Bus, Outgoing, Reader, Record, Transaction, Writer

TIMEOUT = 60.0
"""Seconds after which something that should happen is considered never to happen."""


def writing(topic: str, *values: str, key: str | None = None) -> Transaction:
    """Return a transaction with one record for each value; a value is its own key unless `key` is given."""
    transaction = Transaction()
    for value in values:
        transaction.append(topic, (key or value).encode(), value.encode())
    return transaction


def outgoing(*values: str, key: str | None = None) -> list[Outgoing]:
    """Return one record for each value."""
    return [Outgoing((key or value).encode(), value.encode()) for value in values]


@asynccontextmanager
async def owning(bus: Bus, name: str) -> AsyncIterator[Writer]:
    """Be a writer; after the block, all that it committed is visible, and nothing else becomes visible.

    A committed transaction may become visible a moment later; opening a newer writer of the name waits for that.
    """
    async with bus.writer(name) as writer:
        yield writer
    async with bus.writer(name):
        pass


def texts(records: Iterable[Record]) -> list[str]:
    """Return the values."""
    return [(record.value or b"").decode() for record in records]


async def hand_over(writer: Writer, transaction: Transaction) -> None:
    """Submit, and ignore the outcome."""
    _ = await writer.submit(transaction)


async def read_some(reader: Reader, count: int) -> list[Record]:
    """Read until there are at least `count` records."""
    found: list[Record] = []
    async with asyncio.timeout(TIMEOUT):
        while len(found) < count:
            found += await reader.read()
    return found


async def everything(bus: Bus, topic: str) -> list[Record]:
    """Read all records that are visible now."""
    bounds = await bus.bounds(topic)
    found: list[Record] = []
    async with bus.reader(topic, {number: earliest for number, (earliest, _) in bounds.items()}) as reader:
        async with asyncio.timeout(TIMEOUT):
            while any(reader.positions[number] < end for number, (_, end) in bounds.items()):
                found += await reader.read(wait=0.1)
    return [record for record in found if record.offset < bounds[record.partition][1]]


async def visible(bus: Bus, topic: str) -> list[str]:
    """Return the values that are visible now."""
    return texts(await everything(bus, topic))


async def ends(bus: Bus, topic: str) -> dict[int, int]:
    """Return the end of each partition."""
    return {number: end for number, (_, end) in (await bus.bounds(topic)).items()}


def by_key(records: Sequence[Record]) -> dict[str, list[str]]:
    """Return the values of each key, in order."""
    found: dict[str, list[str]] = {}
    for record in records:
        found.setdefault((record.key or b"").decode(), []).append((record.value or b"").decode())
    return found


async def grown(bus: Bus, topic: str, count: int) -> None:
    """Wait until at least `count` records are visible."""
    async with asyncio.timeout(TIMEOUT), bus.reader(topic, dict.fromkeys(await ends(bus, topic), 0)) as reader:
        await read_some(reader, count)
