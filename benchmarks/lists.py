"""Measures what operators list where there are 100,000 clients, a fifth of them connected.

    commands    `trelay clients list` and `trelay connections`, as JSON: CPU, and the most memory of the process
    pages       `GET /clients` and `GET /consumers` of the admin API, 1,000 entries each, from the first to the last:
                milliseconds a page, and whether each client that stayed was listed once while others came and went

The replicas of the connections do not exist, so that their leases end before the pages are read.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import uvloop

from benchmarks.measuring import as_services_run
from benchmarks.probing import percentile
from services.experience_api.app import build_experience_api
from services.experience_api.registry.postgres import PostgresRegistry
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from tests.integration.services.experience_api.replicas import settings
from tests.servers.postgres import postgres_server

_PAGE = 1000
_FILL = (
    """
    INSERT INTO trelay.clients (client_id, secret_hash, channels, note)
    SELECT 'client-' || number, '', '{orders.**,prices}', 'of team ' || number % 100
    FROM generate_series(1, $1) AS number
    """,
    """
    INSERT INTO trelay.consumers (client_id, token_hash)
    SELECT 'client-' || number, sha256(number::text::bytea) FROM generate_series(1, $1) AS number
    """,
    """
    INSERT INTO trelay.connections (client_id, connection_id, node, node_epoch, epoch, remote)
    SELECT 'client-' || number * 5, gen_random_uuid(), 'replica-' || number % 10, 1, 1, '192.0.2.1'
    FROM generate_series(1, $1 / 5) AS number
    """,
    """
    INSERT INTO trelay.leases (name, owner, epoch, expires_at)
    SELECT 'node/replica-' || number, 'x', 1, now() + interval '1 hour' FROM generate_series(0, $1 % 10 + 9) AS number
    """,
)


async def fill(dsn: str, count: int) -> None:
    """Store so many clients."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in _FILL:
            await connection.execute(statement, count)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


async def end_leases(dsn: str) -> None:
    """End the replicas that hold the connections."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("UPDATE trelay.leases SET expires_at = now()")
    finally:
        await connection.close()


async def come_and_go(dsn: str) -> None:
    """Add and remove clients among the others, until cancelled."""
    connection = await asyncpg.connect(dsn)
    number = 0
    try:
        while True:
            number += 1
            name = f"client-{number % 10}-of-short-life-{number}"
            await connection.execute("INSERT INTO trelay.clients (client_id, secret_hash) VALUES ($1, '')", name)
            await connection.execute(
                "DELETE FROM trelay.clients WHERE client_id = ("
                "SELECT client_id FROM trelay.clients WHERE client_id LIKE 'client-%-of-short-life-%' LIMIT 1)"
            )
            await asyncio.sleep(0.005)
    finally:
        await connection.close()


async def walk(http: aiohttp.ClientSession, url: str, name: str, count: int) -> str:
    """List everything by pages; return the row of the output."""
    took: list[float] = []
    seen: Counter[str] = Counter()
    after: str | None = ""
    while after is not None:
        began = time.perf_counter()
        query = f"limit={_PAGE}" + (f"&after={after}" if after else "")
        async with http.get(f"{url}/{name}?{query}") as response:
            body: dict[str, Any] = await response.json()
        took.append((time.perf_counter() - began) * 1000)
        seen.update(entry["client_id"] for entry in body[name])
        after = body["next"]
    stayed = {name: number for name, number in seen.items() if "short" not in name}
    right = len(stayed) == count and set(stayed.values()) == {1}
    p50, p99 = (percentile(took, share) for share in (0.5, 0.99))
    verdict = "each once" if right else f"WRONG: {len(stayed):,} of {count:,}"
    return f"pages     /{name:<12}{len(took):>5} pages, p50 {p50:>6.1f} ms, p99 {p99:>6.1f} ms   {verdict}"


async def pages(options: DatabaseOptions, count: int) -> None:
    """Print a row for each list."""
    given = settings(options, {"admin": {"listen": {"port": 0}}})
    async with (
        PostgresRegistry.opened(options) as registry,
        build_experience_api(given, bus=MemoryBus(), registry=registry, alerts=RecordingAlerts()) as service,
        aiohttp.ClientSession() as http,
    ):
        assert service.admin is not None
        changing = asyncio.ensure_future(come_and_go(options.url))
        try:
            for name in ("clients", "consumers"):
                print(await walk(http, service.admin.url, name, count), flush=True)
        finally:
            changing.cancel()
            await asyncio.gather(changing, return_exceptions=True)


def commands(config: Path) -> None:
    """Print a row for each command."""
    for name in (("clients", "list"), ("connections",), ("connections", "--all")):
        program = [sys.executable, "-m", "services.cli", *name, "--json", "--config", str(config)]
        with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            size = len(process.stdout.read())
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        cpu, most = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
        outcome = f"{size / 2**20:.1f} MiB" if process.returncode == 0 else f"FAILED with {process.returncode}"
        print(
            f"commands  trelay {' '.join(name):<20}{cpu:>6.1f} s of CPU, {most:>5.0f} MiB, printed {outcome}",
            flush=True,
        )


def main() -> None:
    """Parse the command line, and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100_000)
    count = parser.parse_args().clients
    as_services_run()
    with postgres_server() as server, tempfile.TemporaryDirectory() as folder:
        options = DatabaseOptions(url=server.dsn())
        uvloop.run(migrate(options))
        uvloop.run(fill(server.dsn(), count))
        config = Path(folder, "trelay.yaml")
        config.write_text(f"database:\n  url: {server.dsn()}\n")
        commands(config)
        uvloop.run(end_leases(server.dsn()))
        uvloop.run(pages(options, count))


if __name__ == "__main__":
    main()
