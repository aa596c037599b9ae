"""`trelay dead-letters`: lists dead letters, and shows, replays and drops them."""

import asyncio
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from services.cli.dead_letters import editing, listing
from services.cli.dead_letters.letters_client import LettersClient, Progress
from services.cli.dead_letters.selecting import decision_options, filter_options, filters_of, selection
from services.cli.service_client import address_options
from services.cli.service_commands import call_service
from shared.errors import TrelayError


@click.group(
    "dead-letters",
    short_help="Count, list, show, replay and drop dead letters.",
    epilog="""\b
Examples:
  trelay dead-letters counts
  trelay dead-letters list --since 2h
  trelay dead-letters show 0-4711
  trelay dead-letters replay --pipeline orders --dry-run
  trelay dead-letters replay 0-4711 --edit
  trelay dead-letters drop --source test --reason 'test data'
""",
)
def dead_letters() -> None:
    """Count and list dead letters, and show, replay and drop them, over HTTP, on any replica of the process layer.

    A dead letter is an event that a pipeline refused, or input that a source could not read. It is open until an
    operator replays or drops it, and each is replayed once, whatever fails meanwhile.
    """


_status_option = click.option(
    "--status",
    type=click.Choice(["open", "replayed", "dropped", "all"]),
    default="open",
    show_default=True,
    help="What became of them.",
)
_addresses = address_options("TRELAY_PROCESS_URL", "http://127.0.0.1:8082", "process layer")


@dead_letters.command("list", short_help="List letters, the newest first.")
@filter_options
@_status_option
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many at most.")
@click.option("--oldest", is_flag=True, help="The oldest first.")
@_addresses
def list_all(
    *, status: str, limit: int, oldest: bool, url: str, token: str | None, ca_file: Path | None, as_json: bool,
    **filters: str | None,
) -> None:  # fmt: skip
    """List letters: what failed, where and why.

    \b
    Examples:
      trelay dead-letters list --pipeline orders --error 'no total'
      trelay dead-letters list --status replayed --since 2026-01-31T00:00:00Z --json
    """  # noqa: D301 -- click's mark against rewrapping
    query = {"status": status, "order": "oldest" if oldest else "newest", **filters_of(filters)}

    async def work(client: LettersClient) -> None:
        found = await client.listed(query, limit, _progress("listed"))
        _end_progress()
        if as_json:
            click.echo(msgspec.json.format(msgspec.json.encode({"letters": found}), indent=2))
            return
        for line in listing.table(found):
            click.echo(line)
        if len(found) >= limit:
            click.echo(f"the first {limit}; --limit shows more", err=True)

    call_service(LettersClient, work, url, token, ca_file)


@dead_letters.command(short_help="Count letters by what went wrong.")
@filter_options
@_status_option
@_addresses
def counts(
    *, status: str, url: str, token: str | None, ca_file: Path | None, as_json: bool, **filters: str | None
) -> None:
    """Count letters by stage, source, pipeline and error; numbers in errors are taken as equal.

    \b
    Examples:
      trelay dead-letters counts
      trelay dead-letters counts --since 1d --json
    """  # noqa: D301 -- as above
    query = {"status": status, **filters_of(filters)}

    async def work(client: LettersClient) -> None:
        found = await client.counted(query, _progress("counted"))
        _end_progress()
        _print(found, listing.counts(found), as_json=as_json)

    call_service(LettersClient, work, url, token, ca_file)


@dead_letters.command(short_help="Show one letter.")
@click.argument("letter", metavar="ID")
@click.option("--event", "event_only", is_flag=True, help="Print the event alone, to edit it for `replay --event`.")
@_addresses
def show(*, letter: str, event_only: bool, url: str, token: str | None, ca_file: Path | None, as_json: bool) -> None:
    """Show one letter: why it failed, where it came from, what became of it, and its event.

    \b
    Example:
      trelay dead-letters show 0-4711 --event > fixed.json
    """  # noqa: D301 -- as above

    async def work(client: LettersClient) -> None:
        found = await client.shown(letter)
        if event_only:
            click.echo(editing.to_edit(found), nl=False)
        elif as_json:
            click.echo(msgspec.json.format(found, indent=2))
        else:
            members = msgspec.json.decode(found, type=dict[str, Any])
            for name in ("json", "text", "base64", "template"):
                members.pop(name, None)
            for line in (*listing.details(members), *listing.lines(editing.to_edit(found))):
                click.echo(line)

    call_service(LettersClient, work, url, token, ca_file)


@dead_letters.command(short_help="Replay letters.")
@decision_options
@click.option("--channel", metavar="NAME", help="Publish to this channel, instead of running the pipeline again.")
@click.option("--to-pipeline", metavar="NAME", help="Run this pipeline, instead of the one that refused the event.")
@click.option("--edit", is_flag=True, help="Edit the event of one letter in $EDITOR first.")
@click.option("--event", type=click.File("rb"), metavar="FILE",
              help="The event of one letter, edited; - for standard input.")  # fmt: skip
@click.option("--data", type=click.File("rb"), metavar="FILE",
              help="The data of its event alone, edited; the attributes stay.")  # fmt: skip
@_addresses
def replay(  # noqa: PLR0913 -- click passes each option by name
    ids: tuple[str, ...],
    *,
    channel: str | None,
    to_pipeline: str | None,
    edit: bool,
    event: Any,
    data: Any,
    url: str,
    token: str | None,
    ca_file: Path | None,
    as_json: bool,
    **more: Any,
) -> int:
    """Replay open letters: their events run again, with their ids, through the pipeline that refused them.

    It shows what would happen, and asks, before anything is changed; where it cannot ask, it needs --yes. A letter
    that fails again is a new letter. Input that a source could not read is replayed as an edited event.

    Exit status 1: some of the letters cannot be replayed.

    \b
    Examples:
      trelay dead-letters replay --pipeline orders --since 1d
      trelay dead-letters replay 0-4711 0-4712 --channel orders.fixed --yes
      trelay dead-letters replay --pipeline orders --to-pipeline orders-eu
      trelay dead-letters replay 0-4711 --event fixed.json
    """  # noqa: D301 -- as above
    if sum((edit, event is not None, data is not None)) > 1:
        raise click.UsageError("--edit, --event and --data exclude one another")
    if (edit or event or data) and len(ids) != 1:
        raise click.UsageError("an edited event belongs to one letter; expected one ID")
    body = selection(ids, more) | _target(channel, to_pipeline)
    for name, file in (("event", event), ("data", data)):
        if file is not None:
            body[name] = msgspec.Raw(editing.checked(file.read(), f"correct the file of --{name}"))

    async def work(client: LettersClient) -> dict[str, Any]:
        if edit:
            letter = editing.to_edit(await client.shown(ids[0]))
            body["event"] = msgspec.Raw(await asyncio.to_thread(editing.edited, letter))
        return await _decided(client, "replay", body, more, as_json=as_json)

    try:
        found = call_service(LettersClient, work, url, token, ca_file)
    except BaseException:  # the answer no, and Ctrl-C
        _keep(body, edit=edit)
        raise
    if more["dry_run"] or not found["replayed"]:
        _keep(body, edit=edit)
    return _status(found)


def _target(channel: str | None, pipeline: str | None) -> dict[str, Any]:
    if channel is not None and pipeline is not None:
        raise click.UsageError("--channel and --to-pipeline exclude one another")
    named = {name: to for name, to in (("channel", channel), ("pipeline", pipeline)) if to is not None}
    return {"to": named} if named else {}


@dead_letters.command(short_help="Drop letters.")
@decision_options
@_addresses
def drop(ids: tuple[str, ...], *, url: str, token: str | None, ca_file: Path | None, as_json: bool, **more: Any) -> int:
    """Drop open letters: nobody waits for them any more. They stay in the topic until its retention deletes them.

    It shows what would happen, and asks, before anything is changed; where it cannot ask, it needs --yes.

    \b
    Example:
      trelay dead-letters drop --source test --until 2026-01-31T00:00:00Z --reason 'test data'
    """  # noqa: D301 -- as above
    body = selection(ids, more)

    async def work(client: LettersClient) -> dict[str, Any]:
        return await _decided(client, "drop", body, more, as_json=as_json)

    return _status(call_service(LettersClient, work, url, token, ca_file))


async def _decided(
    client: LettersClient, action: str, body: dict[str, Any], more: Mapping[str, Any], *, as_json: bool
) -> dict[str, Any]:
    """Show what would happen, ask, and do it to the letters that were there then."""
    done = "replayed" if action == "replay" else "dropped"
    found = await client.decided(action, {**body, "dry_run": True}, _progress("matched"))
    _end_progress()
    if more["dry_run"] or not found[done]:
        _print(found, listing.decided(found, done), as_json=as_json)
        return found
    if not more["yes"]:
        for line in listing.decided(found, done):
            click.echo(line, err=True)
        if not sys.stdin.isatty():
            raise TrelayError("nothing was changed: there is no terminal to ask on; expected --yes or --dry-run")
        click.confirm(f"{action.capitalize()} {found[done]}?", abort=True, err=True)
    found = await client.decided(action, {**body, "cursor": found["snapshot"]}, _progress(done))
    _end_progress()
    _print(found, listing.decided(found, done), as_json=as_json)
    return found


def _keep(body: Mapping[str, Any], *, edit: bool) -> None:
    if edit and "event" in body:
        click.echo(f"the edited event is kept in {editing.kept(bytes(body['event']).decode())}", err=True)


def _status(found: Mapping[str, Any]) -> int:
    return 1 if found["refused"] else 0


def _progress(done: str) -> Progress:
    """Return what shows progress in one line of a terminal."""

    def show_count(count: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{count} {done} …", nl=False, err=True)

    return show_count


def _end_progress() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)


def _print(found: Mapping[str, Any], lines: Iterable[str], *, as_json: bool) -> None:
    if as_json:
        shown = {name: value for name, value in found.items() if name not in {"cursor", "snapshot"}}
        click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2))
        return
    for line in lines:
        click.echo(line)
