"""`trelay subscribe`: subscribes, and prints the events."""

import asyncio
import json
import signal
import ssl
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

import click
import uvloop

from services.cli.patterns import patterns_of
from services.cli.tls import ca_context
from services.standalone.client_errors import client_errors_translated
from services.standalone.terminal import mute
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.redaction import one_line
from trelay_client import CONNECTED, GAP, ClientCredentials, CursorFile, Frame, Token, UnreadableFrame, subscribe
from trelay_client.resuming import exclusive

_WATERMARK = "trelay.watermark"
_SHOWN = 200
"""Characters shown of a frame that cannot be read."""
_SAVE_INTERVAL = 0.5
"""Seconds between two writes of the cursor: after a kill, the events of this time may be printed again."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """The arguments of the command."""

    url: str
    credentials: ClientCredentials | Token
    channels: Sequence[str]
    cursor: str | None
    cursor_file: CursorFile | None
    filters: Mapping[str, str]
    since: str | None
    snapshot: bool
    conflate: str | None
    watermarks: int | None
    count: int | None
    ssl_context: ssl.SSLContext | None
    quiet: bool


@click.command("subscribe")
@click.argument("url", default="http://127.0.0.1:8080", envvar="TRELAY_URL")
@click.option("--client-id", envvar="TRELAY_CLIENT_ID", show_envvar=True, help="The id of the client.")
@click.option("--client-secret", envvar="TRELAY_CLIENT_SECRET", show_envvar=True,
              help="Its secret, prompted for if missing. Other users of the machine can see an option.")  # fmt: skip
@click.option("--token", envvar="TRELAY_TOKEN", show_envvar=True, help="A token, instead of id and secret.")
@click.option("--channels", metavar="PATTERNS", callback=patterns_of,
              help="'orders.eu,stock.**'; the default is all permitted channels.")  # fmt: skip
@click.option("--filter", "filters", nargs=2, multiple=True, metavar="PATTERN PREDICATE",
              help="Of these channels, only events that pass: 'orders.*' 'total > 100'; may be repeated.")  # fmt: skip
@click.option("--cursor", help="Resume after this cursor; the default is from now on.")
@click.option("--cursor-file", type=click.Path(path_type=Path, dir_okay=False),
              help="Resume after the cursor in this file, and keep it up to date.")  # fmt: skip
@click.option("--since", metavar="TIME",
              help="Begin there without a cursor: 'earliest', 15m, 2h, 7d or 2026-01-02T03:04:05Z.")  # fmt: skip
@click.option("--snapshot", is_flag=True,
              help="Begin with the latest event of each subject, without a cursor.")  # fmt: skip
@click.option("--conflate", metavar="DURATION",
              help="Of the events of this time, such as 500ms, only the latest of each subject.")  # fmt: skip
@click.option("--watermarks", type=click.IntRange(1, 3600), metavar="SECONDS",
              help="Report on standard error, at most so often, up to when each source has been read.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many events.")
@click.option("--ca-file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="CA bundle (PEM) for the server certificate.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Do not report connections and losses; gaps are always reported.")
def subscribe_and_print(  # noqa: PLR0913 -- click passes each option by name
    *,
    url: str,
    client_id: str | None,
    client_secret: str | None,
    token: str | None,
    channels: tuple[str, ...],
    filters: tuple[tuple[str, str], ...],
    cursor: str | None,
    cursor_file: Path | None,
    since: str | None,
    snapshot: bool,
    conflate: str | None,
    watermarks: int | None,
    count: int | None,
    ca_file: Path | None,
    quiet: bool,
) -> None:
    """Subscribe, and print each event as one line of JSON.

    URL is the address of the experience layer; the default is TRELAY_URL, else http://127.0.0.1:8080.

    It registers, and after any loss it connects again and resumes from its cursor, so that no event is missed. It
    reports this on standard error. It ends with exit status 1 only when the server closes the connection for good.

    \b
    Examples:
      trelay subscribe --client-id demo --client-secret demo
      trelay subscribe https://relay.example.com --client-id billing --cursor-file billing.cursor | ./import-orders
    """  # noqa: D301 -- click's mark against rewrapping
    if cursor and cursor_file is not None:
        raise click.UsageError("give --cursor or --cursor-file, not both")
    if since and snapshot:
        raise click.UsageError("give --since or --snapshot, not both")
    if cursor_file is not None and not cursor_file.absolute().parent.is_dir():
        raise click.UsageError(f"found no folder {cursor_file.parent} for the cursor file")
    file = None if cursor_file is None else CursorFile(cursor_file)
    with client_errors_translated(), exclusive(file):
        subscription = Subscription(
            url,
            _credentials(client_id, client_secret, token),
            channels,
            file.load() if file is not None else cursor or None,
            file,
            dict(filters),
            since,
            snapshot,
            conflate,
            watermarks,
            count,
            ca_context(ca_file),
            quiet,
        )
        try:
            uvloop.run(_until_signal(subscription))
        except BrokenPipeError:
            mute()  # the reader of the output, such as `head`, has closed it


def _credentials(client_id: str | None, client_secret: str | None, token: str | None) -> ClientCredentials | Token:
    if token is not None:
        if client_secret is not None:
            raise click.UsageError("give --token, or --client-id with --client-secret, not both")
        return Token(token)
    if client_id is None:
        raise click.UsageError("expected credentials: --client-id with --client-secret, or --token")
    if not client_secret and (sys.stdin is None or not sys.stdin.isatty()):
        raise click.UsageError("expected the secret as well: in TRELAY_CLIENT_SECRET, or as --client-secret")
    return ClientCredentials(client_id, client_secret or click.prompt("Secret", hide_input=True, err=True))


async def _until_signal(subscription: Subscription) -> None:
    """Print events until SIGTERM or SIGINT; both end it with exit status 0."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await _print_events(subscription)


async def _print_events(subscription: Subscription) -> None:
    printed = 0
    saver = _CursorSaver(subscription.cursor_file)
    stream = subscribe(
        subscription.url,
        subscription.credentials,
        subscription.channels,
        subscription.cursor,
        filters=subscription.filters,
        since=subscription.since,
        snapshot=subscription.snapshot,
        conflate=subscription.conflate,
        watermarks=subscription.watermarks,
        heartbeats=True,
        on_retry=lambda reason: None if subscription.quiet else _report(reason),
        on_unreadable=lambda frame: _report_unreadable(frame, saver),
        ssl_context=subscription.ssl_context,
    )
    try:
        async with aclosing(stream) as frames:
            async for frame in frames:
                if frame.own:
                    _report_control_event(frame, quiet=subscription.quiet)
                else:
                    click.echo(frame.text)
                    printed += 1
                # After the event is printed: a crash in between prints it twice, never not at all.
                await saver.note(frame.cursor)
                if printed == subscription.count:
                    return
    finally:
        await saver.save()


class _CursorSaver:
    """Saves the cursor in a file, at most every `_SAVE_INTERVAL` seconds."""

    def __init__(self, file: CursorFile | None) -> None:
        self._file = file
        self._cursor: str | None = None
        self._saved_at = 0.0

    def pass_by(self, cursor: str | None) -> None:
        """Remember the cursor of a frame that was not printed."""
        self._cursor = cursor or self._cursor

    async def note(self, cursor: str | None) -> None:
        """Remember the cursor, and save it if it is time."""
        self.pass_by(cursor)
        if self._file is not None and SYSTEM_CLOCK.monotonic() - self._saved_at >= _SAVE_INTERVAL:
            self._saved_at = SYSTEM_CLOCK.monotonic()
            await self.save()

    async def save(self) -> None:
        """Save the cursor now."""
        if self._file is not None and self._cursor is not None:
            await asyncio.to_thread(self._file.save, self._cursor)


def _report_control_event(frame: Frame, *, quiet: bool) -> None:
    if frame.heartbeat:
        return  # it moves the cursor alone
    kind = str(frame.event.get("type"))
    data = frame.event.get("data")
    details = data if isinstance(data, dict) else {}
    if kind == GAP:
        _report(f"events may be missing before this: {details.get('reason')}: {details.get('detail')}")
    elif kind == _WATERMARK:
        _report(f"{details.get('source')} was read as of {details.get('as_of')}, on {_list(details.get('channels'))}")
    elif kind == CONNECTED and not quiet:
        _report(f"connected, to {_list(details.get('channels'))}; the next event comes after cursor {frame.cursor}")
    elif not quiet:
        _report(f"{kind}: {json.dumps(data)}")


def _report_unreadable(frame: UnreadableFrame, saver: _CursorSaver) -> None:
    """Report a frame that is skipped; never left out, because an event is not printed."""
    saver.pass_by(frame.cursor)
    behind = f"after cursor {frame.cursor}" if frame.cursor else "without a cursor"
    _report(f"skipping an unreadable frame, {behind}: {frame.reason}: {frame.text[:_SHOWN]}")


def _list(channels: object) -> str:
    return ", ".join(map(str, channels)) if isinstance(channels, list) and channels else "every channel"


def _report(sentence: str) -> None:
    # Text from a server may contain control characters, which must not reach the terminal.
    click.echo(one_line(sentence), err=True)
