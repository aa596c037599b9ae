"""`trelay clients`: manages the clients that may register."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import click

from services.cli.configuration import config_option, data_option, database
from services.cli.patterns import patterns_of
from services.experience_api.auth.clients import EVERY_CHANNEL, add_client
from services.experience_api.registry.postgres import PostgresRegistry
from services.experience_api.registry.protocol import Client, Policy
from shared.database.engine import create_engine
from shared.database.options import DatabaseOptions
from shared.errors import Malformed, TrelayError

_POLICY = click.Choice([policy.value for policy in Policy])
_POLICY_HELP = (
    "What a second connection does: `probe` replaces the first if it does not answer, `reject` waits for its end, "
    "`replace` always replaces it."
)


@click.group(short_help="Add, list, change, disable and enable clients.")
def clients() -> None:
    """Add, list, change, disable and enable clients: the applications that may register.

    A client has an id and a secret. It registers with both, and gets a token to subscribe with.
    """


@clients.command(short_help="Add a client, and print its secret, once.")
@click.argument("client_id")
@click.option("--channels", default=",".join(EVERY_CHANNEL), show_default=True, metavar="PATTERNS",
              callback=patterns_of, help="The channels it may subscribe to, separated by commas: 'orders.eu', "
              "'orders.*' for one more word, 'orders.**' for any number.")  # fmt: skip
@click.option("--may-send", is_flag=True, help="It may also send; other clients are disconnected when they send.")
@click.option("--loopback-only", is_flag=True, help="It is accepted from this machine only.")
@click.option("--policy", type=_POLICY, default=Policy.PROBE.value, show_default=True, help=_POLICY_HELP)
@click.option("--note", default="", help="A remark that `list` shows.")
@click.option(
    "--secret-file",
    type=click.File("r"),
    help="A file with a secret that you chose, or - for standard input; the default is a random secret.",
)
@config_option
@data_option
def add(  # noqa: PLR0913 -- click passes each option by name
    client_id: str,
    *,
    channels: tuple[str, ...],
    may_send: bool,
    loopback_only: bool,
    policy: str,
    note: str,
    secret_file: TextIO | None,
    config: Path,
    data: Path | None,
) -> None:
    """Add a client, and print its secret once: it is not stored, and cannot be shown again.

    \b
    Example:
      trelay clients add billing --channels 'orders.**,stock.eu' --note 'team billing'
      trelay clients add billing --data var          the deployment of `make run`
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
                policy=Policy(policy),
            )

    try:
        secret = asyncio.run(work())
    except Malformed as exc:
        raise click.UsageError(str(exc)) from exc
    click.echo(f"client_id: {client_id}")
    if chosen is None:
        click.echo(f"client_secret: {secret}")
        click.echo("The secret is not stored and cannot be shown again.", err=True)


@clients.command("list", short_help="List the clients.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
@data_option
def list_all(*, as_json: bool, config: Path, data: Path | None) -> None:
    """List the clients with their channels, restrictions and notes."""
    options = database(config, data)

    async def work() -> list[Client]:
        async with _registry(options) as registry:
            return await registry.all()

    found = asyncio.run(work())
    if as_json:
        shown = [{name: value for name, value in asdict(client).items() if name != "secret_hash"} for client in found]
        click.echo(json.dumps(shown))
        return
    rows = [("CLIENT", "CHANNELS", "", "NOTE")]
    rows += [(client.client_id, " ".join(client.channels), _marks(client), client.note) for client in found]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@clients.command("set", short_help="Change the channels or the policy of a client.")
@click.argument("client_id")
@click.option("--channels", metavar="PATTERNS", callback=patterns_of,
              help="All channels that it may subscribe to, separated by commas.")  # fmt: skip
@click.option("--policy", type=_POLICY, help=_POLICY_HELP)
@config_option
@data_option
def set_options(
    client_id: str, *, channels: tuple[str, ...], policy: str | None, config: Path, data: Path | None
) -> None:
    """Change a client. Its channels change for a living connection within two seconds, its policy at the next one.

    \b
    Example:
      trelay clients set billing --channels 'orders.**'
    """  # noqa: D301 -- click's mark against rewrapping
    options = database(config, data)

    if not channels and policy is None:
        raise click.UsageError("found nothing to change; expected --channels or --policy")

    async def work() -> bool:
        async with _registry(options) as registry:
            known = not channels or await registry.set_channels(client_id, channels)
            return known and (policy is None or await registry.set_policy(client_id, Policy(policy)))

    if not asyncio.run(work()):
        raise _unknown(client_id)
    if channels:
        click.echo(f"{client_id} may subscribe to {' '.join(channels)}")
    if policy is not None:
        click.echo(f"{client_id} has the policy {policy}")


@clients.command(short_help="Disable a client and close its connection.")
@click.argument("client_id")
@config_option
@data_option
def disable(client_id: str, config: Path, data: Path | None) -> None:
    """Disable a client: its connection is closed, and it can neither register nor connect."""
    asyncio.run(_change(database(config, data), client_id, disabled=True))


@clients.command()
@click.argument("client_id")
@config_option
@data_option
def enable(client_id: str, config: Path, data: Path | None) -> None:
    """Enable a disabled client. Its token is valid again, unless it has expired."""
    asyncio.run(_change(database(config, data), client_id, disabled=False))


async def _change(options: DatabaseOptions, client_id: str, *, disabled: bool) -> None:
    async with _registry(options) as registry:
        known = await (registry.disable(client_id) if disabled else registry.enable(client_id))
    if not known:
        raise _unknown(client_id)
    click.echo(f"{client_id} is {'disabled' if disabled else 'enabled'}")


def _unknown(client_id: str) -> TrelayError:
    return TrelayError(f"found no client {client_id!r}; 'trelay clients list' lists the clients")


@asynccontextmanager
async def _registry(options: DatabaseOptions) -> AsyncIterator[PostgresRegistry]:
    engine = create_engine(options)
    try:
        yield PostgresRegistry(engine, options)
    finally:
        await engine.dispose()


def _marks(client: Client) -> str:
    all_marks = {
        "disabled": client.disabled,
        "may send": client.may_send,
        "loopback only": client.loopback_only,
        client.policy.value: client.policy is not Policy.PROBE,
    }
    return ", ".join(mark for mark, applies in all_marks.items() if applies)
