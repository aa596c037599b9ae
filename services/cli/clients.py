"""`trelay clients`: who may register."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

import click

from services.cli.configuration import config_option, data_option, database
from services.cli.patterns import patterns_of
from services.experience_api.auth.clients import EVERY_CHANNEL, add_client
from services.experience_api.registry.postgres import PostgresRegistry
from services.experience_api.registry.protocol import Client
from shared.database.engine import create_engine
from shared.database.options import DatabaseOptions
from shared.errors import Malformed, TrelayError


@click.group(short_help="Add, list, disable and enable clients.")
def clients() -> None:
    """Add, list, disable and enable clients: the applications that may register.

    A client is known by its id and a secret. It registers with both and gets a token, with which it subscribes.
    """


@clients.command(short_help="Add a client, and print its secret, once.")
@click.argument("client_id")
@click.option("--channels", default=",".join(EVERY_CHANNEL), show_default=True, metavar="PATTERNS",
              callback=patterns_of, help="What it may subscribe to, separated by commas: 'orders.eu', 'orders.*' for "
              "one more word, 'orders.**' for any.")  # fmt: skip
@click.option("--may-send", is_flag=True, help="It may send, too; others are disconnected when they do.")
@click.option("--loopback-only", is_flag=True, help="It is accepted from this machine only.")
@click.option("--note", default="", help="A remark that `list` shows.")
@click.option(
    "--secret-file",
    type=click.File("r"),
    help="A file with a secret of your choice, - for standard input; without it, one that cannot be guessed is made.",
)
@config_option
@data_option
def add(  # noqa: PLR0913 -- click hands over each option by its name
    client_id: str,
    *,
    channels: tuple[str, ...],
    may_send: bool,
    loopback_only: bool,
    note: str,
    secret_file: TextIO | None,
    config: Path,
    data: Path | None,
) -> None:
    """Add a client, and print its secret: this once, for it is not kept.

    \b
    Example:
      trelay clients add billing --channels 'orders.**,stock.eu' --note 'team billing'
      trelay clients add billing --data var          for the one that `make run` runs
    """  # noqa: D301 -- click's mark against rewrapping
    chosen = None if secret_file is None else secret_file.read().rstrip("\r\n")
    options = database(config, data)

    async def work() -> str:
        async with _registry(options) as registry:
            return await add_client(
                registry,
                client_id,
                secret=chosen,
                channels=channels,
                may_send=may_send,
                loopback_only=loopback_only,
                note=note,
            )

    try:
        secret = asyncio.run(work())
    except Malformed as exc:
        raise click.UsageError(str(exc)) from exc
    click.echo(f"client_id: {client_id}")
    if chosen is None:
        click.echo(f"client_secret: {secret}")
        click.echo("The secret is not kept: it cannot be shown again.", err=True)


@clients.command("list", short_help="List the clients.")
@config_option
@data_option
def list_all(config: Path, data: Path | None) -> None:
    """List the clients: id, channels, and what is special about each."""
    options = database(config, data)

    async def work() -> list[Client]:
        async with _registry(options) as registry:
            return await registry.all()

    found = asyncio.run(work())
    rows = [("CLIENT", "CHANNELS", "", "NOTE")]
    rows += [(client.client_id, " ".join(client.channels), _special(client), client.note) for client in found]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@clients.command(short_help="Disconnect a client, and let it in no more.")
@click.argument("client_id")
@config_option
@data_option
def disable(client_id: str, config: Path, data: Path | None) -> None:
    """Let a client neither register nor connect; if it is connected, it is disconnected now."""
    asyncio.run(_change(database(config, data), client_id, disabled=True))


@clients.command()
@click.argument("client_id")
@config_option
@data_option
def enable(client_id: str, config: Path, data: Path | None) -> None:
    """Undo disable. The client's token is good again, if it has not expired meanwhile."""
    asyncio.run(_change(database(config, data), client_id, disabled=False))


async def _change(options: DatabaseOptions, client_id: str, *, disabled: bool) -> None:
    async with _registry(options) as registry:
        known = await (registry.disable(client_id) if disabled else registry.enable(client_id))
    if not known:
        raise TrelayError(f"there is no client {client_id!r}; 'trelay clients list' shows those there are")
    click.echo(f"{client_id} is {'disabled' if disabled else 'enabled'}")


@asynccontextmanager
async def _registry(options: DatabaseOptions) -> AsyncIterator[PostgresRegistry]:
    engine = create_engine(options)
    try:
        yield PostgresRegistry(engine, options)
    finally:
        await engine.dispose()


def _special(client: Client) -> str:
    marks = {
        "disabled": client.disabled,
        "may send": client.may_send,
        "loopback only": client.loopback_only,
    }
    return ", ".join(mark for mark, is_so in marks.items() if is_so)
