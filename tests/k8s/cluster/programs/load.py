"""Feeds rows and subscribes, in a pod of the image `cli`, until SIGTERM; then prints the verdict as one line of JSON.

Its subscribers reconnect as the client library does.
"""

import asyncio
import json
import os
import signal
import ssl
import sys
import time
from collections import Counter
from pathlib import Path

import aiohttp
import asyncpg

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from shared.database.options import DatabaseOptions
from tests.k8s.cluster.programs.subscriber import ACCOUNTS, POLL, SECRET, Phases, Subscriber, times

AUTHORITY = "/authority/ca.crt"
PASSWORD = Path("/run/secrets/trelay/database/password")
DATABASE = os.environ.get("DATABASE", "postgresql://trelay@postgresql:5432/trelay")
DATABASE_CA = os.environ.get("DATABASE_CA")
"""The file with the authority of the database's certificate; without it, the connection has no TLS."""
TLS = {"tls": {"ca_file": DATABASE_CA}} if DATABASE_CA else {}
RATE = float(os.environ.get("RATE", "100"))
SUBSCRIBERS = int(os.environ.get("SUBSCRIBERS", "20"))
SETTLE = float(os.environ.get("SETTLE", "60"))
PREFIX = os.environ.get("PREFIX", f"load-{time.time_ns()}")
OF_ONE_ACCOUNT = bool(os.environ.get("OF_ONE_ACCOUNT"))
"""Each subscriber asks for the rows of one account, by a filter, instead of all rows."""


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
    phases = Phases()
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=None, connect=10), trace_configs=[phases.tracing()]
    ) as session:
        running = [asyncio.create_task(subscriber.run(session)) for subscriber in subscribers]
        while any(subscriber.state.cursor is None for subscriber in subscribers):
            await asyncio.sleep(POLL)
        print("connected", flush=True)
        running.append(asyncio.create_task(phases.measure_lateness()))
        phases.connect.clear()
        phases.upgrade.clear()
        began, cpu = time.monotonic(), time.process_time()
        numbers = await _feed(stop)
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        await _settle(numbers, subscribers)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    verdict = {**_verdict(numbers, seconds, subscribers), **times(subscribers, phases), "cpu": round(cpu / seconds, 2)}
    print(json.dumps(verdict), flush=True)
    return 0 if verdict["lost"] == verdict["twice"] == verdict["foreign"] == 0 else 1


async def _settle(numbers: list[int], subscribers: list[Subscriber]) -> None:
    """Wait until each subscriber has as many rows as it must receive, and a connection.

    It counts only: looking up which rows they are takes so long that those who reconnect meanwhile would be late.
    """
    deadline = time.monotonic() + SETTLE
    of_account = Counter(number % ACCOUNTS for number in numbers)
    while time.monotonic() < deadline:
        expected = (len(numbers) if each.account is None else of_account[each.account] for each in subscribers)
        if all(
            each.away is None and len(each.numbers) >= count for each, count in zip(subscribers, expected, strict=True)
        ):
            return
        await asyncio.sleep(1)


async def _add_clients(options: DatabaseOptions, names: list[str]) -> None:
    async with PostgresRegistry.opened(options) as registry:
        for name in names:
            await add_client(registry, name, secret=SECRET)


async def _feed(stop: asyncio.Event) -> list[int]:
    """Insert rows at the rate until `stop` is set; return the numbers of the rows that were committed."""
    numbers: list[int] = []
    following = int(time.time() * 1000) % 1_000_000_000
    connection = None
    trusted = ssl.create_default_context(cafile=DATABASE_CA) if DATABASE_CA else False
    due = time.monotonic()
    while not stop.is_set():
        batch = [following + offset for offset in range(max(1, round(RATE / 10)))]
        try:
            if connection is None:
                password = PASSWORD.read_text().strip()
                connection = await asyncpg.connect(DATABASE, password=password, ssl=trusted, timeout=5)
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
    failed = Counter(error for subscriber in subscribers for error in subscriber.failed)
    refused = Counter(str(status) for subscriber in subscribers for status in subscriber.refused)
    return {
        "rows": len(numbers),
        "rows_per_second": round(len(numbers) / seconds, 1),
        "subscribers": len(subscribers),
        "lost": sum(len(each.expected(committed) - set(each.numbers)) for each in subscribers),
        "twice": sum(each.repeated + len(each.numbers) - len(set(each.numbers)) for each in subscribers),
        "frames_per_second": round(sum(len(each.numbers) for each in subscribers) / seconds),
        "foreign": sum(len(set(each.numbers) - each.expected(committed)) for each in subscribers),
        "gaps": sum(subscriber.gaps for subscriber in subscribers),
        "failed": dict(sorted(failed.items())),
        "refused": dict(sorted(refused.items())),
    }


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
