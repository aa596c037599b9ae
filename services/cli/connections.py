"""`trelay connections`: shows which consumers are connected, to which replica and since when."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import click

from services.cli.configuration import config_option, data_option, database
from shared.database.options import DatabaseOptions
from shared.database.pool import ConnectionPool

# A connection lives exactly while its node holds the lease under which it was claimed.
_CONNECTIONS = """
SELECT
    consumers.client_id,
    consumers.registered_at,
    consumers.last_seen_at,
    connections.connection_id,
    connections.node,
    connections.remote,
    connections.connected_at,
    coalesce(leases.expires_at > now(), false) AS connected
FROM trelay.consumers
LEFT JOIN trelay.connections ON connections.client_id = consumers.client_id
LEFT JOIN trelay.leases ON leases.name = 'node/' || connections.node AND leases.epoch = connections.node_epoch
ORDER BY consumers.client_id, connections.connected_at
"""
_HEAD = ("CLIENT", "SINCE", "FROM", "NODE", "CONNECTION")


@click.command("connections")
@click.option("--all", "everyone", is_flag=True, help="Show the registered consumers that are not connected as well.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
@data_option
def connections(*, everyone: bool, as_json: bool, config: Path, data: Path | None) -> None:
    """Show which consumers are connected, on all replicas: since when, from which address, to which replica.

    It reads the database. A replica that was killed counts as connected until its lease expires.

    \b
    Example:
      trelay connections --all --json
    """  # noqa: D301 -- click's mark against rewrapping
    rows = asyncio.run(_read(database(config, data)))
    shown = [_shown(row) for row in rows if everyone or row["connected"]]
    if as_json:
        click.echo(json.dumps(shown))
        return
    cells = [_HEAD, *(_cells(found) for found in shown)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


async def _read(options: DatabaseOptions) -> list[asyncpg.Record]:
    async with ConnectionPool.opened(options, size=1, purpose="trelay connections") as pool, pool.use() as connection:
        return list(await connection.fetch(_CONNECTIONS))


def _shown(row: asyncpg.Record) -> dict[str, Any]:
    found: dict[str, Any] = {
        "client_id": row["client_id"],
        "connected": row["connected"],
        "registered_at": _time(row["registered_at"]),
    }
    if not row["connected"]:
        return found | {"last_seen_at": _time(row["last_seen_at"])}
    return found | {
        "since": _time(row["connected_at"]),
        "from": row["remote"],
        "node": row["node"],
        "connection_id": str(row["connection_id"]),
    }


def _cells(found: dict[str, Any]) -> tuple[str, ...]:
    if not found["connected"]:
        return (found["client_id"], f"not connected, last seen {found['last_seen_at']}", "", "", "")
    return (found["client_id"], found["since"], found["from"], found["node"], found["connection_id"])


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
