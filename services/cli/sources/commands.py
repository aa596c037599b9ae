"""`trelay sources`: lists sources, and pauses, resumes, polls and rewinds them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from services.cli.service_client import address_options
from services.cli.service_commands import awaited, call_service, print_answer, wait_option
from services.cli.sources import listing
from services.cli.sources.system_client import SystemClient
from shared.errors import SettingsError, TrelayError


@click.group(
    "sources",
    short_help="List, pause, resume, poll and rewind sources.",
    epilog="""\b
Examples:
  trelay sources list
  trelay sources pause orders --reason 'index rebuild'
  trelay sources rewind orders --to 2026-01-31T00:00:00Z --dry-run
""",
)
def sources() -> None:
    """List, pause, resume, poll and rewind sources, over HTTP, on any replica of the system layer."""


_address_options = address_options("TRELAY_SYSTEM_URL", "http://127.0.0.1:8081", "system layer")


@sources.command("list", short_help="List the sources.")
@_address_options
def list_all(*, url: str, token: str | None, ca_file: Path | None, as_json: bool) -> None:
    """List the sources of all replicas: state, owner, how long ago each was caught up, events a second."""

    async def work(client: SystemClient) -> None:
        found = await client.sources()
        print_answer(found, listing.table(found), as_json=as_json)

    call_service(SystemClient, work, url, token, ca_file)


@sources.command(short_help="Show one source.")
@click.argument("name")
@click.option("--position", is_flag=True, help="Print its whole saved position as JSON, for `rewind --position`.")
@_address_options
def show(*, name: str, position: bool, url: str, token: str | None, ca_file: Path | None, as_json: bool) -> None:
    """Show all that is known of one source."""

    async def work(client: SystemClient) -> None:
        found = await (client.position(name) if position else client.source(name))
        print_answer(found, listing.details(found), as_json=as_json or position)

    call_service(SystemClient, work, url, token, ca_file)


@sources.command(short_help="Show what a source read and published, by hour.")
@click.argument("name")
@click.option("--hours", type=click.IntRange(1, 744), default=24, show_default=True, help="How far back.")
@_address_options
def counts(*, name: str, hours: int, url: str, token: str | None, ca_file: Path | None, as_json: bool) -> None:
    """Show how many rows a source read, published, rejected and skipped on purpose, by hour (UTC)."""

    async def work(client: SystemClient) -> None:
        found = await client.windows(name, hours)
        print_answer(found, listing.windows(found["windows"]), as_json=as_json)

    call_service(SystemClient, work, url, token, ca_file)


@sources.command(short_help="Pause a source.")
@click.argument("name")
@click.option("--reason", default="", help="Why; it is shown as long as the source is paused.")
@wait_option
@_address_options
def pause(
    name: str, *, reason: str, wait: float, url: str, token: str | None, ca_file: Path | None, as_json: bool
) -> None:
    """Pause a source: it commits what is in flight, closes the upstream and reads nothing until it is resumed.

    \b
    Example:
      trelay sources pause orders --reason 'index rebuild'
    """  # noqa: D301 -- click's mark against rewrapping

    async def work(client: SystemClient) -> None:
        answer = await client.ask(name, "pause", {"reason": reason})
        answer = await _until(client, answer, lambda source: source["state"] in {"paused", "standby"}, wait)
        print_answer(answer, [f"{name} is {answer['state']}"], as_json=as_json)

    call_service(SystemClient, work, url, token, ca_file)


@sources.command(short_help="Resume a paused source.")
@click.argument("name")
@wait_option
@_address_options
def resume(*, name: str, wait: float, url: str, token: str | None, ca_file: Path | None, as_json: bool) -> None:
    """Resume a paused source where it stopped."""

    async def work(client: SystemClient) -> None:
        answer = await client.ask(name, "resume", {})
        answer = await _until(client, answer, lambda source: source["state"] not in {"paused", "starting"}, wait)
        print_answer(answer, [f"{name} is {answer['state']}"], as_json=as_json)

    call_service(SystemClient, work, url, token, ca_file)


@sources.command(short_help="Poll a source now.")
@click.argument("name")
@_address_options
def poll(name: str, *, url: str, token: str | None, ca_file: Path | None, as_json: bool) -> None:
    """Poll a source now, without waiting for its interval, or for the next attempt if it is down."""

    async def work(client: SystemClient) -> None:
        answer = await client.ask(name, "poll", {})
        print_answer(answer, [f"{name} polls now"], as_json=as_json)

    call_service(SystemClient, work, url, token, ca_file)


@sources.command(short_help="Rewind a source.")
@click.argument("name")
@click.option("--to", "place", metavar="PLACE", help="'beginning', 'end', or a time (RFC 3339).")
@click.option("--position", type=click.File("rb"), metavar="FILE",
              help="A position as `show --position` prints it, instead of --to; - for standard input.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what would happen, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@wait_option
@_address_options
def rewind(  # noqa: PLR0913 -- click passes each option by name
    name: str,
    *,
    place: str | None,
    position: Any,
    dry_run: bool,
    yes: bool,
    wait: float,
    url: str,
    token: str | None,
    ca_file: Path | None,
    as_json: bool,
) -> None:
    """Rewind a source: the events after the new position, up to the old one, come again, with the ids that they had.

    It shows what would happen, and asks, before anything is changed.

    \b
    Examples:
      trelay sources rewind orders --to beginning --dry-run
      trelay sources show orders --position > saved.json
      trelay sources rewind orders --position saved.json
    """  # noqa: D301 -- as above
    if (place is None) == (position is None):
        raise click.UsageError("expected --to or --position")
    to = _place(place) if place is not None else _position(position.read())

    async def work(client: SystemClient) -> None:
        preview = await client.ask(name, "rewind", {"to": to, "dry_run": True})
        if dry_run or not as_json:
            print_answer(preview, listing.rewind(name, preview), as_json=as_json)
        if dry_run:
            return
        if not yes:
            click.confirm(f"Rewind {name}?", abort=True, err=True)
        answer = await client.ask(name, "rewind", {"to": to})
        await _settled(client, answer, wait, f"{name} is rewound", as_json=as_json)

    call_service(SystemClient, work, url, token, ca_file)


@sources.command(short_help="Publish again what is there now.")
@click.argument("name")
@wait_option
@_address_options
def snapshot(*, name: str, wait: float, url: str, token: str | None, ca_file: Path | None, as_json: bool) -> None:
    """Publish what is there now once more, beside what changes meanwhile; a paused source begins when it is resumed."""

    async def work(client: SystemClient) -> None:
        answer = await client.ask(name, "snapshot", {})
        await _settled(client, answer, wait, f"{name} has begun its snapshot", as_json=as_json)

    call_service(SystemClient, work, url, token, ca_file)


@sources.command(short_help="Compare what an upstream has with what is published.")
@click.argument("name")
@click.option("--from", "since", metavar="TIME", help="The beginning of the range (RFC 3339).")
@click.option("--to", "until", metavar="TIME", help="Its end, excluded; before the lag of the source.")
@_address_options
def reconcile(
    *, name: str, since: str | None, until: str | None, url: str, token: str | None, ca_file: Path | None, as_json: bool
) -> int:
    """Count the rows that changed last within a range of time, upstream and in what is published, and compare.

    Exit status 1: they differ. Rows that were deleted upstream are published and not there any more. Without a range,
    files are compared as a whole, up to the saved position.

    \b
    Example:
      trelay sources reconcile orders --from 2026-01-31T00:00:00Z --to 2026-02-01T00:00:00Z
    """  # noqa: D301 -- as above
    found: dict[str, Any] = {}

    async def work(client: SystemClient) -> None:
        given = {key: time for key, time in (("from", since), ("to", until)) if time}
        found.update(await client.ask(name, "reconcile", given))
        print_answer(found, listing.reconciled(found), as_json=as_json)

    call_service(SystemClient, work, url, token, ca_file)
    return 1 if found["difference"] else 0


async def _settled(client: SystemClient, answer: Mapping[str, Any], wait: float, done: str, *, as_json: bool) -> None:
    """Wait for the outcome of a request and print it; one that fails is an error."""
    generation = answer["request"]["generation"]

    def over(source: Mapping[str, Any]) -> bool:
        request = source["request"]
        return bool(request["generation"] != generation or request["state"] != "pending")

    answer = await _until(client, answer, over, wait)
    request = answer["request"]
    if request["state"] == "failed":
        raise TrelayError(f"{answer['name']}: {request['error']}")
    text = done if request["state"] == "done" else f"accepted; {request['command']} of {answer['name']} is pending"
    print_answer(answer, [text], as_json=as_json)


async def _until(
    client: SystemClient, answer: Mapping[str, Any], condition: Callable[[Mapping[str, Any]], bool], wait: float
) -> Mapping[str, Any]:
    """Return the source once it satisfies a condition, or when the time is over."""
    return await awaited(answer, lambda: client.source(answer["name"]), condition, wait)


def _place(text: str) -> Any:
    return text if text in {"beginning", "end"} else {"time": text}


def _position(content: bytes) -> Any:
    try:
        found = json.loads(content)
    except ValueError as exc:
        raise SettingsError(f"--position: the file is not JSON: {exc}") from exc
    position = found.get("position") if isinstance(found, dict) else None
    if not isinstance(position, dict) or found.get("parts", len(position)) != len(position):
        raise SettingsError("--position: expected JSON as `trelay sources show NAME --position` prints it")
    return {"position": position}
