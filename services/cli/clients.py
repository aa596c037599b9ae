"""`trelay clients`: manages the clients that may register."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from services.cli.configuration import config_option, data_option, database
from services.cli.patterns import patterns_of
from services.experience_api.admin.clients import CONNECTIONS_LIMIT, ClientAdmin, NewClient, UnknownClient
from services.experience_api.admin.views import View, ending_text
from services.experience_api.auth.clients import EVERY_CHANNEL, ClientExists
from services.experience_api.registry.clients import ClientChange, Policy
from services.experience_api.registry.postgres import PostgresRegistry
from shared.errors import Malformed, TrelayError

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")
_POLICY = click.Choice([policy.value for policy in Policy])
_POLICY_HELP = (
    "What a connection beyond the limit does: `probe` replaces one that does not answer, `reject` waits for one to "
    "end, `replace` always replaces the oldest."
)
_SECRET_HELP = "A file with a secret that you chose, or - for standard input; the default is a random secret."  # noqa: S105 -- a help text


def _common_options(command: F) -> F:
    """Add `--json`, `--config` and `--data`."""
    json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    return json_option(config_option(data_option(command)))


@click.group(short_help="Add, list, change, rotate, disable and remove clients.")
def clients() -> None:
    """Manage clients: the applications that may register.

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
@click.option("--max-connections", type=click.IntRange(1, CONNECTIONS_LIMIT), default=1, show_default=True,
              help="How many connections it may have at a time.")  # fmt: skip
@click.option("--note", default="", help="A remark that `list` shows.")
@click.option("--secret-file", type=click.File("r"), help=_SECRET_HELP)
@_common_options
def add(
    client_id: str,
    *,
    policy: str,
    secret_file: TextIO | None,
    as_json: bool,
    config: Path,
    data: Path | None,
    **more: Any,
) -> None:
    """Add a client, and print its secret once: it is not stored, and cannot be shown again.

    \b
    Example:
      trelay clients add billing --channels 'orders.**,stock.eu' --note 'team billing'
      trelay clients add billing --data var          the deployment of `make run`
    """  # noqa: D301 -- click's mark against rewrapping
    new = NewClient(client_id, _chosen(secret_file), policy=Policy(policy), **more)
    found = _done(config, data, lambda admin: admin.add(new))
    _print(found, [f"client_id: {client_id}"], as_json=as_json)


@clients.command("list", short_help="List the clients.")
@_common_options
def list_all(*, as_json: bool, config: Path, data: Path | None) -> None:
    """List the clients: their channels, restrictions, notes and tokens, and how their last connection ended."""

    async def work(admin: ClientAdmin) -> list[View]:
        return [view async for view in admin.all()]

    found = _done(config, data, work)
    if as_json:
        click.echo(json.dumps(found))
        return
    rows = [("CLIENT", "CHANNELS", "", "NOTE", "TOKENS", "LAST ENDING")]
    rows += [
        (
            view["client_id"],
            " ".join(view["channels"]),
            _marks(view),
            view["note"],
            str(view["tokens"]),
            ending_text(view["last_ending"]),
        )
        for view in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@clients.command(short_help="Give a client a new secret, and print it, once.")
@click.argument("client_id")
@click.option("--overlap", type=click.FloatRange(min=0), required=True, metavar="SECONDS",
              help="How long the secret before remains valid, so that the application can be given the new one: "
              "3600 for an hour, 0 if it was stolen.")  # fmt: skip
@click.option("--secret-file", type=click.File("r"), help=_SECRET_HELP)
@_common_options
def rotate(
    client_id: str, *, overlap: float, secret_file: TextIO | None, as_json: bool, config: Path, data: Path | None
) -> None:
    """Give a client a new secret, and print it once. The one before remains valid for the overlap, and then not.

    The token and the connection of the client stay; `revoke` ends both.

    \b
    Example:
      trelay clients rotate billing --overlap 3600
    """  # noqa: D301 -- click's mark against rewrapping
    secret = _chosen(secret_file)
    found = _done(config, data, lambda admin: admin.rotate(client_id, overlap, secret))
    until = found["previous_secret_until"]
    _print(
        found,
        [f"client_id: {client_id}", f"previous secret: {f'valid until {until}' if until else 'not valid any more'}"],
        as_json=as_json,
    )


@clients.command("set", short_help="Change the channels, the policy or another member of a client.")
@click.argument("client_id")
@click.option("--channels", metavar="PATTERNS", callback=patterns_of,
              help="All channels that it may subscribe to, separated by commas.")  # fmt: skip
@click.option("--policy", type=_POLICY, help=_POLICY_HELP)
@click.option("--may-send/--may-not-send", default=None, help="Whether it may also send.")
@click.option("--loopback-only/--any-address", default=None, help="Whether it is accepted from this machine only.")
@click.option("--max-connections", type=click.IntRange(1, CONNECTIONS_LIMIT),
              help="How many connections it may have at a time.")  # fmt: skip
@click.option("--note", help="A remark that `list` shows.")
@_common_options
def set_options(
    client_id: str,
    *,
    channels: tuple[str, ...],
    policy: str | None,
    as_json: bool,
    config: Path,
    data: Path | None,
    **more: Any,
) -> None:
    """Change a client. Its channels change for a living connection within two seconds.

    A connection ends to be opened again if the client may or may not send from now on, or is accepted from this machine
    only. All else changes at the next connection.

    \b
    Example:
      trelay clients set billing --channels 'orders.**'
    """  # noqa: D301 -- click's mark against rewrapping
    change = ClientChange(channels=channels or None, policy=None if policy is None else Policy(policy), **more)
    if not change.members:
        raise click.UsageError("found nothing to change; expected --channels, --policy or another option")
    found = _done(config, data, lambda admin: admin.change(client_id, change))
    _print(found, _changed(client_id, change), as_json=as_json)


@clients.command(short_help="Disable a client and close its connection.")
@click.argument("client_id")
@_common_options
def disable(client_id: str, *, as_json: bool, config: Path, data: Path | None) -> None:
    """Disable a client: its connection is closed, and it can neither register nor connect."""
    found = _done(config, data, lambda admin: admin.disable(client_id))
    _print(found, [f"{client_id} is disabled"], as_json=as_json)


@clients.command()
@click.argument("client_id")
@_common_options
def enable(client_id: str, *, as_json: bool, config: Path, data: Path | None) -> None:
    """Enable a disabled client. Its token is valid again, unless it has expired."""
    found = _done(config, data, lambda admin: admin.enable(client_id))
    _print(found, [f"{client_id} is enabled"], as_json=as_json)


@clients.command(short_help="Invalidate the token of a client and close its connection.")
@click.argument("client_id")
@_common_options
def revoke(client_id: str, *, as_json: bool, config: Path, data: Path | None) -> None:
    """Invalidate the token of a client and close its connection. It can register again with its secret."""
    found = _done(config, data, lambda admin: admin.revoke(client_id))
    _print(found, [f"{client_id} has no token{'' if found['revoked'] else ', and had none'}"], as_json=as_json)


@clients.command(short_help="Delete a client with its token and close its connection.")
@click.argument("client_id")
@_common_options
def remove(client_id: str, *, as_json: bool, config: Path, data: Path | None) -> None:
    """Delete a client with its token and close its connection. `disable` keeps them."""
    found = _done(config, data, lambda admin: admin.remove(client_id))
    _print(found, [f"{client_id} is removed"], as_json=as_json)


def _done(config: Path, data: Path | None, work: Callable[[ClientAdmin], Awaitable[R]]) -> R:
    """Return the result of some work with the clients of a database."""
    options = database(config, data)

    async def connected() -> R:
        async with PostgresRegistry.opened(options) as registry:
            return await work(ClientAdmin(registry))

    try:
        return asyncio.run(connected())
    except ClientExists as exc:
        hint = "'trelay clients set' changes it, and 'trelay clients rotate' gives it a new secret"
        raise click.UsageError(f"{exc}; {hint}") from exc
    except Malformed as exc:
        raise click.UsageError(str(exc)) from exc
    except UnknownClient as exc:
        raise TrelayError(f"{exc}; 'trelay clients list' lists the clients") from exc


def _print(found: View, lines: Sequence[str], *, as_json: bool) -> None:
    """Print what is done; a secret that was generated comes after the id."""
    if as_json:
        click.echo(json.dumps(found))
    else:
        first, *others = lines
        click.echo(first)
        if "client_secret" in found:
            click.echo(f"client_secret: {found['client_secret']}")
        for line in others:
            click.echo(line)
    if "client_secret" in found:
        click.echo("The secret is not stored and cannot be shown again.", err=True)


def _chosen(secret_file: TextIO | None) -> str | None:
    return None if secret_file is None else secret_file.read().rstrip("\r\n")


def _changed(client_id: str, change: ClientChange) -> list[str]:
    addresses = "this machine only" if change.loopback_only else "any address"
    lines = {
        "channels": f"{client_id} may subscribe to {' '.join(change.channels or ())}",
        "policy": f"{client_id} has the policy {change.policy}",
        "may_send": f"{client_id} {'may' if change.may_send else 'may not'} send",
        "loopback_only": f"{client_id} is accepted from {addresses}",
        "max_connections": f"{client_id} may have {change.max_connections} connections",
        "note": f"{client_id} has the note {change.note!r}",
    }
    return [line for member, line in lines.items() if member in change.members]


def _marks(view: View) -> str:
    all_marks = {
        "disabled": view["disabled"],
        "may send": view["may_send"],
        "loopback only": view["loopback_only"],
        view["policy"]: view["policy"] != Policy.PROBE,
        f"{view['max_connections']} connections": view["max_connections"] > 1,
        "two secrets": view["previous_secret_until"] is not None,
    }
    return ", ".join(mark for mark, applies in all_marks.items() if applies)
