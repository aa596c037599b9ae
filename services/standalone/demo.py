"""The demonstration of `make run`: example sources that change, and a subscriber that prints the events.

The examples are copied into the data folder once and change there; the originals are read-only.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from importlib.resources.abc import Traversable
from pathlib import Path

import asyncpg

from services.standalone.client_errors import client_errors_translated
from services.standalone.data import EXAMPLES
from shared.database.options import DatabaseOptions
from shared.database.pool import ConnectionPool
from shared.errors import TrelayError
from shared.runtime.clock import Clock, rfc3339
from trelay_client import CONNECTED, ClientCredentials, CursorFile, Frame, UsageError, subscribe

SETTINGS = "trelay.yaml"

_READING_EVERY = 2.0
_ORDER_EVERY = 3.0
_SENSORS = ("roof", "cellar", "greenhouse")
_REGIONS = ("eu", "us", "apac")
_STATES = ("paid", "packed", "shipped")
_WIDTH = 160


def copy_examples(target: Path) -> Path:
    """Copy the examples that are not there yet, and return their settings file."""
    _copy_missing(EXAMPLES, target)
    # The settings belong to the release and are replaced; the data belongs to the user from the first copy on.
    settings = target / SETTINGS
    settings.write_bytes((EXAMPLES / SETTINGS).read_bytes())
    return settings


def _copy_missing(originals: Traversable, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for original in originals.iterdir():
        copy = target / original.name
        if original.is_dir():
            _copy_missing(original, copy)
        elif not copy.exists():
            copy.write_bytes(original.read_bytes())


def database(dsn: str) -> AbstractAsyncContextManager[ConnectionPool]:
    """Open connections to the database with the example table."""
    return ConnectionPool.opened(DatabaseOptions(url=dsn), size=1, purpose="demo")


async def make_table(dsn: str, script: str) -> None:
    """Create the example table."""
    async with database(dsn) as connections, connections.use() as connection:
        await connection.execute(script)


async def grow_feed(feed: Path, clock: Clock, rng: random.Random) -> None:
    """Append a reading every two seconds, until cancelled."""
    while True:
        await clock.sleep(_READING_EVERY)
        reading = {
            "sensor": rng.choice(_SENSORS),
            "celsius": round(rng.uniform(-5, 25), 1),
            "at": rfc3339(clock.time()),
        }
        with suppress(OSError):  # a full disk, for example; the next reading may succeed
            await asyncio.to_thread(_append, feed, json.dumps(reading) + "\n")


def _append(feed: Path, text: str) -> None:
    with feed.open("a") as file:
        file.write(text)


async def take_orders(dsn: str, clock: Clock, rng: random.Random) -> None:
    """Insert or update an order every three seconds, until cancelled."""
    async with database(dsn) as connections:
        while True:
            await clock.sleep(_ORDER_EVERY)
            with suppress(TrelayError, asyncpg.PostgresError):  # the next order may succeed
                async with connections.use() as connection:
                    await _order(connection, rng)


async def _order(connection: asyncpg.Connection, rng: random.Random) -> None:
    updated = ""
    if rng.random() < 0.5:  # noqa: PLR2004 -- every second time
        updated = await connection.execute(
            "UPDATE shop.orders SET state = $1, updated_at = now()"
            " WHERE id = (SELECT id FROM shop.orders ORDER BY random() LIMIT 1)",
            rng.choice(_STATES),
        )
    if updated != "UPDATE 1":
        await connection.execute(
            "INSERT INTO shop.orders (region, amount) VALUES ($1, $2::float8)",
            rng.choice(_REGIONS),
            round(rng.uniform(5, 500), 2),
        )


async def print_events(
    url: str, account: ClientCredentials, cursor_file: Path, say: Callable[[str], None], connected: Callable[[], None]
) -> None:
    """Print a line for each event, from the cursor of the last run on, until cancelled.

    `connected` is called after each connect: every event published from then on is received.
    """
    with client_errors_translated():
        await _print_events(url, account, CursorFile(cursor_file), say, connected)


async def _print_events(
    url: str, account: ClientCredentials, place: CursorFile, say: Callable[[str], None], connected: Callable[[], None]
) -> None:
    kept = True
    frames: AsyncGenerator[Frame, None] = subscribe(
        url, account, cursor=await asyncio.to_thread(place.load), on_retry=say
    )
    async with aclosing(frames):
        async for frame in frames:
            if not frame.own:
                say(line(frame))
            elif frame.event["type"] == CONNECTED:
                connected()
            else:
                say(f"({frame.event['type']}: {json.dumps(frame.event.get('data'))})")
            if frame.cursor is not None:
                try:
                    await asyncio.to_thread(place.save, frame.cursor)
                    kept = True
                except UsageError as exc:
                    # Not fatal: after the next start, some events may be printed again.
                    if kept:
                        say(f"({exc})")
                    kept = False


def line(frame: Frame) -> str:
    """Return an event as one line for the terminal."""
    event = frame.event
    text = f"{event.get('channel', '-'):<12} {event['type']:<15} {json.dumps(event.get('data'), ensure_ascii=False)}"
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
