"""Feeds rows and subscribes, in a pod of the image `cli`, until SIGTERM; then prints the verdict as one line of JSON.

It reconnects as the protocol says, with the cursor of its last frame, and repairs nothing: each event must come once.
"""

import asyncio
import json
import os
import random
import signal
import ssl
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import asyncpg

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from shared.database.options import DatabaseOptions

URL = os.environ.get("URL", "https://experience-api:8080")
AUTHORITY = "/authority/ca.crt"
PASSWORD = Path("/run/secrets/trelay/database/password")
DATABASE = os.environ.get("DATABASE", "postgresql://trelay@postgresql:5432/trelay")
TLS = {"tls": {"ca_file": AUTHORITY}} if os.environ.get("DATABASE_TLS") else {}
RATE = float(os.environ.get("RATE", "100"))
SUBSCRIBERS = int(os.environ.get("SUBSCRIBERS", "20"))
SETTLE = float(os.environ.get("SETTLE", "60"))
SECRET = "a-secret-of-the-load-program"
PAUSE = 0.05
LONGEST_PAUSE = 1.0
"""Seconds between two attempts to connect: twice as long after each, and by chance up to half less."""
REGISTERING = asyncio.Semaphore(4)
PREFIX = os.environ.get("PREFIX", f"load-{time.time_ns()}")
ACCOUNTS = 50
OF_ONE_ACCOUNT = bool(os.environ.get("OF_ONE_ACCOUNT"))
"""Each subscriber asks for the rows of one account, by a filter, instead of all rows."""


@dataclass
class Subscriber:
    """One consumer, and everything that it received."""

    name: str
    account: int | None = None
    """The only account that it asks for."""
    cursor: str | None = None
    numbers: list[int] = field(default_factory=list)
    gaps: int = 0
    away: list[float] = field(default_factory=list)
    """Seconds from each end of a connection to the next connection."""
    lost_at: float | None = None
    """When its last connection ended, while it has none."""
    refused: list[int] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """What else ended a connection, or prevented it."""
    token: str | None = None

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Subscribe until cancelled."""
        pause = PAUSE
        while True:
            connected = len(self.away)
            try:
                self.token = self.token or await self._register(session)
                await self._listen(session, self.token)
            except aiohttp.WSServerHandshakeError as exc:
                self.refused.append(exc.status)
            except (aiohttp.ClientError, OSError, TimeoutError) as exc:
                self.failed.append(type(exc).__name__)
            if self.lost_at is None and self.cursor is not None:
                self.lost_at = time.monotonic()
            pause = PAUSE if len(self.away) > connected else min(LONGEST_PAUSE, 2 * pause)
            await asyncio.sleep(pause * random.uniform(0.5, 1))

    async def _register(self, session: aiohttp.ClientSession) -> str:
        headers = {"client_id": self.name, "client_secret": SECRET}
        async with REGISTERING, session.post(f"{URL}/consumers", headers=headers) as answer:
            answer.raise_for_status()
            return str((await answer.json())["token"])

    async def _listen(self, session: aiohttp.ClientSession, token: str) -> None:
        query = {"cursor": self.cursor} if self.cursor else {}
        if self.account is not None:
            query |= {"channels": "feed", "filters": json.dumps({"feed": f"account = 's{self.account}'"})}
        headers = {"Authorization": f"Bearer {token}"}
        async with session.ws_connect(f"{URL}/ws/publish?{urlencode(query)}", headers=headers, heartbeat=10) as socket:
            if self.lost_at is not None:
                self.away.append(time.monotonic() - self.lost_at)
                self.lost_at = None
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._note(json.loads(message.data))

    def _note(self, frame: dict[str, object]) -> None:
        if frame["source"] == "/trelay":
            self.gaps += frame["type"] == "trelay.gap"
        else:
            data = frame["data"]
            assert isinstance(data, dict)
            self.numbers.append(int(data["number"]))
        cursor = frame.get("cursor")
        self.cursor = str(cursor) if cursor else self.cursor

    def expected(self, numbers: set[int]) -> set[int]:
        """Return those of some rows that it must receive."""
        return numbers if self.account is None else {each for each in numbers if each % ACCOUNTS == self.account}


async def main() -> int:
    """Run until SIGTERM, and return 0 if each subscriber got each row once."""
    options = DatabaseOptions.model_validate({"url": DATABASE, "password": {"file": str(PASSWORD)}, **TLS})
    subscribers = [
        Subscriber(f"{PREFIX}-{number}", number % ACCOUNTS if OF_ONE_ACCOUNT else None) for number in range(SUBSCRIBERS)
    ]
    await _add_clients(options, [subscriber.name for subscriber in subscribers])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    trusted = ssl.create_default_context(cafile=AUTHORITY)
    connector = aiohttp.TCPConnector(limit=0, force_close=True, ssl=trusted)
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=None, connect=5)
    ) as session:
        running = [asyncio.create_task(subscriber.run(session)) for subscriber in subscribers]
        while any(subscriber.cursor is None for subscriber in subscribers):
            await asyncio.sleep(PAUSE)
        print("connected", flush=True)
        began = time.monotonic()
        numbers = await _feed(stop, trusted)
        seconds = time.monotonic() - began
        deadline = time.monotonic() + SETTLE
        committed = set(numbers)
        while time.monotonic() < deadline and any(each.expected(committed) - set(each.numbers) for each in subscribers):
            await asyncio.sleep(1)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    verdict = _verdict(numbers, seconds, subscribers)
    print(json.dumps(verdict), flush=True)
    return 0 if verdict["lost"] == verdict["twice"] == verdict["foreign"] == 0 else 1


async def _add_clients(options: DatabaseOptions, names: list[str]) -> None:
    async with PostgresRegistry.opened(options) as registry:
        for name in names:
            await add_client(registry, name, secret=SECRET)


async def _feed(stop: asyncio.Event, trusted: ssl.SSLContext) -> list[int]:
    """Insert rows at the rate until `stop` is set; return the numbers of the rows that were committed."""
    numbers: list[int] = []
    following = int(time.time() * 1000) % 1_000_000_000
    connection = None
    due = time.monotonic()
    while not stop.is_set():
        batch = [following + offset for offset in range(max(1, round(RATE / 10)))]
        try:
            if connection is None:
                password = PASSWORD.read_text().strip()
                connection = await asyncpg.connect(
                    DATABASE, password=password, ssl=trusted if TLS else False, timeout=5
                )
            rows = [(number, f"s{number % ACCOUNTS}") for number in batch]
            await connection.executemany("INSERT INTO feed (number, account) VALUES ($1, $2)", rows, timeout=5)
        except asyncpg.UniqueViolationError:
            pass  # the answer to the commit was lost: they are there
        except (
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError,
        ):  # fmt: skip
            if connection is not None:
                connection.terminate()
            connection = None
            await asyncio.sleep(0.2)
            continue  # the same rows again
        numbers += batch
        following += len(batch)
        due = max(due + len(batch) / RATE, time.monotonic() - 1)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    return numbers


def _verdict(numbers: list[int], seconds: float, subscribers: list[Subscriber]) -> dict[str, object]:
    committed = set(numbers)
    away = sorted(seconds for subscriber in subscribers for seconds in subscriber.away)
    failed = [error for subscriber in subscribers for error in subscriber.failed]
    refused = [status for subscriber in subscribers for status in subscriber.refused]
    return {
        "rows": len(numbers),
        "rows_per_second": round(len(numbers) / seconds, 1),
        "subscribers": len(subscribers),
        "lost": sum(len(each.expected(committed) - set(each.numbers)) for each in subscribers),
        "twice": sum(len(each.numbers) - len(set(each.numbers)) for each in subscribers),
        "frames_per_second": round(sum(len(each.numbers) for each in subscribers) / seconds),
        "foreign": sum(len(set(each.numbers) - each.expected(committed)) for each in subscribers),
        "gaps": sum(subscriber.gaps for subscriber in subscribers),
        "reconnects": len(away),
        "reconnect_p50_s": round(away[len(away) // 2], 2) if away else None,
        "reconnect_p99_s": round(away[min(len(away) - 1, len(away) * 99 // 100)], 2) if away else None,
        "failed": {error: failed.count(error) for error in sorted(set(failed))},
        "refused": {str(status): refused.count(status) for status in sorted(set(refused))},
    }


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
