"""`trelay migrate`: brings the database's tables to the newest revision."""

import asyncio
from pathlib import Path

import click

from services.cli.configuration import config_option
from shared.composition.settings import DatabaseSettings
from shared.database.migrations import migrate
from shared.settings import load


@click.command("migrate")
@config_option
def migrate_database(config: Path) -> None:
    """Bring the database's tables to the newest revision.

    Safe to repeat, and while services run: replicas of the release before go on with the new tables. The services do
    the same when they start.
    """
    options = load(config, DatabaseSettings).database
    revision = asyncio.run(migrate(options))
    click.echo(f"{options.address} is at revision {revision}")
