"""`trelay migrate`: migrates the tables of the database to the newest revision."""

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
    """Migrate the tables of the database to the newest revision.

    It can be repeated, and can run while services run: replicas of the previous release work with the new tables.
    Services also migrate when they start.
    """
    options = load(config, DatabaseSettings).database
    revision = asyncio.run(migrate(options))
    click.echo(f"{options.address} is at revision {revision}")
