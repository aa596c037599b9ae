"""`trelay slots`: shows, creates and drops the replication slots of table sources."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from services.cli.configuration import config_option
from services.standalone.settings import WholeSettings
from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.postgresql.replication import managing
from shared.errors import SettingsError
from shared.settings import load

Work = Callable[[str, TableSourceOptions], Coroutine[Any, Any, list[str]]]


@click.group("slots", short_help="Show, create and drop replication slots of sources.")
def slots() -> None:
    """Show, create and drop the replication slots and publications of sources with `mode: replication`.

    A slot that no source reads makes its server keep all of its log, until the disk is full: drop it when you remove
    the source.

    \b
    Examples:
      trelay slots show orders
      trelay slots create orders
      trelay slots drop orders
    """  # noqa: D301 -- click's mark against rewrapping


@slots.command(short_help="Show the slot of a source.")
@click.argument("source")
@config_option
def show(source: str, config: Path) -> None:
    """Show the slot of a source, and how much log the server keeps for it."""
    click.echo(asyncio.run(managing.probe(source, _options(config, source))))


@slots.command(short_help="Create the slot of a source.")
@click.argument("source")
@config_option
def create(source: str, config: Path) -> None:
    """Create the slot and the publication of a source, with the account of the source.

    It needs the attribute REPLICATION, and must own the table, unless the publication exists already.
    """
    _run(managing.create, config, source, "created")


@slots.command(short_help="Drop the slot of a source.")
@click.argument("source")
@config_option
def drop(source: str, config: Path) -> None:
    """Drop the slot and the publication of a source. Changes that were not read are then missing."""
    _run(managing.drop, config, source, "dropped")


def _run(work: Work, config: Path, source: str, done: str) -> None:
    found = asyncio.run(work(source, _options(config, source)))
    click.echo("\n".join(f"{done} {what}" for what in found) or f"nothing to be {done}")


def _options(config: Path, source: str) -> TableSourceOptions:
    sources = load(config, WholeSettings).system.sources
    options = sources.get(source)
    if not isinstance(options, TableSourceOptions) or options.mode != "replication":
        names = [name for name, each in sources.items() if getattr(each, "mode", "") == "replication"]
        known = f"expected {', '.join(names)}" if names else "there is none in this file"
        raise SettingsError(f"SOURCE: found {source!r}; expected a table source with mode: replication: {known}")
    return options
