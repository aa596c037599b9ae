"""`trelay explain`: why a client did or did not get an event, from its source to its socket."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from services.cli.service_client import ServiceClient, address_options
from services.cli.service_commands import call_service
from shared.errors import TrelayError

_BAR = 30
"""Characters of the progress bar."""
_IDLE = 20
"""Answers without progress, until it is an error."""
_HEAD = ("HOP", "ANSWER", "TIME", "WHAT IS KNOWN")

Progress = Callable[[Mapping[str, Any]], None]


class ExplainClient(ServiceClient):
    """Calls the admin API of one replica."""

    service = "experience layer with an admin API"

    async def explained(self, query: Mapping[str, str], progress: Progress) -> Mapping[str, Any]:
        """Ask until the explanation is done. Raises `TrelayError`."""
        asked, last, idle = dict(query), -1, 0
        while True:
            found = await self.call("GET", f"/explain?{urlencode(asked)}")
            progress(found)
            if found["cursor"] is None:
                return found
            read = int(found["read"]["records"])
            idle, last = (idle + 1 if read == last else 0), read
            if idle == _IDLE:
                raise TrelayError("the topics cannot be read on: `/readyz` of the experience layer tells why")
            asked["cursor"] = found["cursor"]


@click.command("explain")
@click.argument("event")
@click.option("--client", required=True, help="The id of the client.")
@click.option("--source", help="The name of its source, to tell events of the same id apart.")
@click.option("--since", default="1h", show_default=True,
              help="The earliest time of the event: `earliest`, a duration such as 2d, or a time.")  # fmt: skip
@click.option("--until", help="The latest time at which it was ingested. By default now.")
@click.option(
    "--limit", type=click.IntRange(1, 16_384), help="MiB of each topic that are read at most, by default 256."
)
@address_options("TRELAY_ADMIN_URL", "http://127.0.0.1:8083", "admin API of the experience layer")
def explain(  # noqa: PLR0913 -- click passes each option by name
    *,
    event: str,
    client: str,
    source: str | None,
    since: str,
    until: str | None,
    limit: int | None,
    url: str,
    token: str | None,
    ca_file: Path | None,
    as_json: bool,
) -> None:
    """Explain why a client did or did not get the event of this id.

    It looks at the ingest topic, the process layer, the dead letters, the publish topic, the grants of the client and
    its connections, and tells at which of them the event stopped. Nothing is changed.

    \b
    Examples:
      trelay explain orders:4711:2 --client billing
      trelay explain orders:4711:2 --client billing --since 2d --until 1d --json
    """  # noqa: D301 -- click's mark against rewrapping
    given = {"source": source, "until": until, "limit": None if limit is None else str(limit)}
    query = {"event": event, "client": client, "since": since, **{name: text for name, text in given.items() if text}}

    async def work(caller: ExplainClient) -> None:
        shows = sys.stderr.isatty()
        found = await caller.explained(query, _show_progress if shows else lambda _: None)
        if shows:
            click.echo(err=True)
        click.echo(json.dumps(found) if as_json else "\n".join(lines(found)))

    call_service(ExplainClient, work, url, token, ca_file)


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of an explanation for people."""
    conclusion = found["conclusion"]
    yield f"{conclusion['answer']}: {conclusion['text']}"
    if conclusion["todo"]:
        yield f"what to do: {conclusion['todo']}"
    yield ""
    rows = [_HEAD, *((hop["hop"], hop["answer"], hop["at"] or "", hop["text"]) for hop in found["hops"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def bar(found: Mapping[str, Any]) -> str:
    """Return the progress as one line."""
    done = round(found["progress"] * _BAR)
    read = found["read"]
    return f"[{'#' * done}{'.' * (_BAR - done)}] {found['progress']:.0%}, {read['records']} records read"


def _show_progress(found: Mapping[str, Any]) -> None:
    click.echo(f"\r{bar(found)}", nl=False, err=True)
