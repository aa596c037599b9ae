"""The upstream: rows and lines whose subject and number identify each event at every hop."""

import json
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from tests.e2e.audit import Sighting

SUBJECTS = 50
TABLE = "orders"


def ddl(table: str) -> str:
    """Return the statement that makes a table for rows like those of `insert_rows`."""
    columns = "id bigserial PRIMARY KEY, account text NOT NULL, number int NOT NULL, note text NOT NULL"
    return f"CREATE TABLE {table} ({columns})"


DDL = ddl(TABLE)


@dataclass
class Upstream:
    """Numbers the events of each subject, and remembers them in order."""

    rng: random.Random
    subjects: Sequence[str] = tuple(f"s{number}" for number in range(SUBJECTS))
    written: list[Sighting] = field(default_factory=list)
    times: list[tuple[float, int]] = field(default_factory=list)
    """By when how many of them were there for Trelay to read."""
    _next: dict[str, int] = field(default_factory=dict)

    def note(self, count: int) -> None:
        """Note that `count` more of them can be read from now on."""
        self.times.append((time.time(), count + (self.times[-1][1] if self.times else 0)))

    def by(self, when: float) -> int:
        """Return how many could be read before a time."""
        return max((count for at, count in self.times if at < when), default=0)

    def more(self, count: int) -> list[Sighting]:
        """Return the next events to be written."""
        fresh = []
        for _ in range(count):
            subject = self.rng.choice(self.subjects)
            number = self._next.get(subject, 0)
            self._next[subject] = number + 1
            fresh.append(Sighting(subject, number))
        self.written += fresh
        return fresh


async def insert(connection: asyncpg.Connection, table: str, events: Iterable[Sighting]) -> None:
    """Write rows, in the transaction that is open."""
    rows = [(subject, number, "x" * 100) for subject, number in events]
    await connection.executemany(f"INSERT INTO {table} (account, number, note) VALUES ($1, $2, $3)", rows)


async def insert_rows(dsn: str, upstream: Upstream, count: int) -> None:
    """Write the next rows, several to a transaction."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = upstream.more(count)
        for start in range(0, len(rows), 20):
            await insert(connection, TABLE, rows[start : start + 20])
            upstream.note(len(rows[start : start + 20]))
    finally:
        await connection.close()


def append_lines(path: Path, upstream: Upstream, events: Iterable[Sighting], rng: random.Random) -> None:
    """Write lines as a program would that flushes when it likes: in pieces that end anywhere."""
    text = b"".join(
        json.dumps({"sensor": subject, "number": number, "note": "y" * 100}).encode() + b"\n"
        for subject, number in events
    )
    with path.open("ab", buffering=0) as file:
        while text:
            cut = rng.randrange(1, 5000)
            file.write(text[:cut])
            upstream.note(text.count(b"\n", 0, cut))
            text = text[cut:]


def sighting(event: dict[str, Any]) -> Sighting:
    """Read the event's subject and number back."""
    return Sighting(str(event["subject"]), int(event["data"]["number"]))
