"""`trelay connections`: shows which consumers are connected, to which replica and since when."""

import asyncio
import json
from pathlib import Path

import click

from services.cli.configuration import config_option, data_option, database
from services.experience_api.admin.views import View, ending_text, ending_view, time_view
from services.experience_api.registry.clients import Consumer
from services.experience_api.registry.postgres import PostgresRegistry
from shared.database.options import DatabaseOptions

_HEAD = ("CLIENT", "SINCE", "FROM", "NODE", "CONNECTION", "LAST ENDING")


@click.command("connections")
@click.option("--all", "everyone", is_flag=True, help="Show the registered consumers that are not connected as well.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
@data_option
def connections(*, everyone: bool, as_json: bool, config: Path, data: Path | None) -> None:
    """Show which consumers are connected, on all replicas: since when, from which address, to which replica.

    LAST ENDING is how the connection before ended: when, by which close code, and how long it had lasted.

    It reads the database. A replica that was killed counts as connected until its lease expires.

    \b
    Example:
      trelay connections --all --json
    """  # noqa: D301 -- click's mark against rewrapping
    consumers = asyncio.run(_read(database(config, data)))
    shown = [view for consumer in consumers for view in _shown(consumer) if everyone or view["connected"]]
    if as_json:
        click.echo(json.dumps(shown))
        return
    cells = [_HEAD, *(_cells(found) for found in shown)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


async def _read(options: DatabaseOptions) -> list[Consumer]:
    async with PostgresRegistry.opened(options) as registry:
        return await registry.consumers()


def _shown(consumer: Consumer) -> list[View]:
    """Return an entry for each connection of a consumer, or one for none."""
    found = {
        "client_id": consumer.client_id,
        "registered_at": time_view(consumer.registered_at),
        "tokens": consumer.tokens,
        "last_ending": ending_view(consumer.last_ending),
    }
    if not consumer.connections:
        return [{**found, "connected": False, "last_seen_at": time_view(consumer.last_seen_at)}]
    return [
        {
            **found,
            "connected": True,
            "since": time_view(each.since),
            "from": each.remote,
            "node": each.node,
            "connection_id": str(each.connection_id),
        }
        for each in consumer.connections
    ]


def _cells(found: View) -> tuple[str, ...]:
    if not found["connected"]:
        seen = f"not connected, last seen {found['last_seen_at']}"
        return (found["client_id"], seen, "", "", "", ending_text(found["last_ending"]))
    own = (found["client_id"], found["since"], found["from"], found["node"], found["connection_id"])
    return (*own, ending_text(found["last_ending"]))
