"""`trelay pipelines`: lists the pipelines of a running process layer, and pauses, resumes and rewinds them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from services.cli.pipelines import comparing, listing
from services.cli.service_client import ServiceClient, address_options
from services.cli.service_commands import awaited, call_service, print_answer, wait_option
from shared.errors import TrelayError


class PipelinesClient(ServiceClient):
    """Calls the endpoints of one replica of the process layer."""

    service = "process layer"


@click.group(
    "pipelines",
    short_help="List, pause, resume and rewind pipelines.",
    epilog="""\b
Examples:
  trelay pipelines list
  trelay pipelines pause orders --reason 'repair of the customers'
  trelay pipelines rewind orders --to 2026-01-31T12:00:00Z --dry-run
  trelay pipelines reload
""",
)
def pipelines() -> None:
    """List, pause, resume and rewind pipelines, over HTTP, on any replica of the process layer."""


_addresses = address_options("TRELAY_PROCESS_URL", "http://127.0.0.1:8082", "process layer")


@pipelines.command("list", short_help="List the pipelines.")
@_addresses
def list_all(*, url: str, token: str | None, ca_file: Path | None, as_json: bool) -> None:
    """List the pipelines: state, version, events that wait, events a second, and dead letters since the start."""

    async def work(client: PipelinesClient) -> None:
        found = await client.call("GET", "/pipelines")
        print_answer(found, listing.table(found), as_json=as_json)

    call_service(PipelinesClient, work, url, token, ca_file)


@pipelines.command(short_help="Show one pipeline.")
@click.argument("name")
@_addresses
def show(*, name: str, url: str, token: str | None, ca_file: Path | None, as_json: bool) -> None:
    """Show all that is known of one pipeline: partitions, what holds it, its last error."""

    async def work(client: PipelinesClient) -> None:
        found = await client.call("GET", f"/pipelines/{name}")
        print_answer(found, listing.details(found), as_json=as_json)

    call_service(PipelinesClient, work, url, token, ca_file)


@pipelines.command(short_help="Show how the shadow of a pipeline differs.")
@click.argument("name")
@_addresses
def shadow(*, name: str, url: str, token: str | None, ca_file: Path | None, as_json: bool) -> None:
    """Show how the shadow of a pipeline differs from it: the counts and the newest differences of one replica."""

    async def work(client: PipelinesClient) -> None:
        found = await client.call("GET", f"/pipelines/{name}/shadow")
        print_answer(found, comparing.shadow_lines(found), as_json=as_json)

    call_service(PipelinesClient, work, url, token, ca_file)


@pipelines.command(short_help="Pause a pipeline.")
@click.argument("name")
@click.option("--reason", default="", help="Why; it is shown as long as the pipeline is paused.")
@_addresses
def pause(name: str, *, reason: str, url: str, token: str | None, ca_file: Path | None, as_json: bool) -> None:
    """Pause a pipeline: each partition stops at the first event that the pipeline would take.

    The events behind that one wait as well, also those of other pipelines. None is lost.
    """

    async def work(client: PipelinesClient) -> None:
        answer = await client.call("POST", f"/pipelines/{name}/pause", {"reason": reason})
        print_answer(answer, [f"{name} is {answer['state']}"], as_json=as_json)

    call_service(PipelinesClient, work, url, token, ca_file)


@pipelines.command(short_help="Resume a paused pipeline.")
@click.argument("name")
@_addresses
def resume(*, name: str, url: str, token: str | None, ca_file: Path | None, as_json: bool) -> None:
    """Resume a paused pipeline at the event where it stopped."""

    async def work(client: PipelinesClient) -> None:
        answer = await client.call("POST", f"/pipelines/{name}/resume", {})
        print_answer(answer, [f"{name} is {answer['state']}"], as_json=as_json)

    call_service(PipelinesClient, work, url, token, ca_file)


@pipelines.command(short_help="Rewind a pipeline.")
@click.argument("name")
@click.option("--to", "place", metavar="PLACE", help="'beginning', or a time (RFC 3339).")
@click.option("--offset", "offsets", metavar="PARTITION=OFFSET", multiple=True,
              help="An offset of a partition, instead of --to; several are several partitions.")  # fmt: skip
@click.option("--reset-state", is_flag=True, help="Let the state of its steps begin anew there.")
@click.option("--dry-run", is_flag=True, help="Show what would run again, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@wait_option
@_addresses
def rewind(  # noqa: PLR0913 -- click passes each option by name
    name: str,
    *,
    place: str | None,
    offsets: tuple[str, ...],
    reset_state: bool,
    dry_run: bool,
    yes: bool,
    wait: float,
    url: str,
    token: str | None,
    ca_file: Path | None,
    as_json: bool,
) -> None:
    """Rewind a pipeline: it takes the events from a place on again, and no other pipeline does.

    It shows what would run again, and asks, before anything is changed. Results have the ids that they had.

    \b
    Examples:
      trelay pipelines rewind orders --to 2026-01-31T12:00:00Z --dry-run
      trelay pipelines rewind orders --offset 0=4711 --offset 3=0
    """  # noqa: D301 -- click's mark against rewrapping
    if (place is None) == (not offsets):
        raise click.UsageError("expected --to or --offset")
    body = {"to": _place(place) if place is not None else _offsets(offsets), "reset_state": reset_state}

    async def work(client: PipelinesClient) -> None:
        planned = await client.call("POST", f"/pipelines/{name}/rewind", {**body, "dry_run": True})
        if dry_run or not as_json:
            print_answer(planned, listing.plan(name, planned), as_json=as_json)
        if dry_run:
            return
        if planned["refused"]:
            raise TrelayError(f"{name}: expected --reset-state")
        if not planned["partitions"]:
            return
        if not yes:
            click.confirm(f"Rewind {name}?", abort=True, err=True)
        answer = await client.call("POST", f"/pipelines/{name}/rewind", body)
        answer = await _carried_out(client, answer, wait)
        done = (answer["rewind"] or {}).get("state") == "done"
        text = f"{name} is rewound" if done else f"accepted; the rewind of {name} is pending"
        print_answer(answer, [text], as_json=as_json)

    call_service(PipelinesClient, work, url, token, ca_file)


@pipelines.command(short_help="Read the settings files again.")
@_addresses
def reload(*, url: str, token: str | None, ca_file: Path | None, as_json: bool) -> None:
    """Let all replicas read their settings files again: pipelines that have changed are replaced between two batches.

    A file with a fault changes nothing on its replica, and the first fault that is found is printed.
    """

    async def work(client: PipelinesClient) -> None:
        answer = await client.call("POST", "/pipelines/reload", {})
        changed = ", ".join(answer["reloaded"]) or "nothing has changed"
        versions = [f"{name}  {version}" for name, version in sorted(answer["versions"].items())]
        print_answer(answer, [f"reloaded: {changed}", *versions], as_json=as_json)

    call_service(PipelinesClient, work, url, token, ca_file)


async def _carried_out(client: PipelinesClient, answer: Mapping[str, Any], wait: float) -> Mapping[str, Any]:
    """Return the pipeline once its rewind is carried out or replaced, or when the time is over."""
    request = answer["rewind"]["id"]

    def over(pipeline: Mapping[str, Any]) -> bool:
        rewind = pipeline["rewind"]
        return rewind is not None and bool(rewind["id"] != request or rewind["state"] != "pending")

    return await awaited(answer, lambda: client.call("GET", f"/pipelines/{answer['name']}"), over, wait)


def _place(text: str) -> Any:
    return text if text == "beginning" else {"time": text}


def _offsets(given: tuple[str, ...]) -> Any:
    found = {}
    for text in given:
        partition, equals, offset = text.partition("=")
        if not (equals and partition.isdigit() and offset.isdigit()):
            raise click.UsageError(f"--offset: found {text!r}; expected PARTITION=OFFSET, such as 0=4711")
        found[partition] = int(offset)
    return {"offsets": found}
