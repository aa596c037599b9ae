"""`trelay subscribe`: a real subscriber, that prints what it gets."""

import asyncio
import json
import signal
import ssl
import sys
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

import click
import uvloop

from services.cli.patterns import patterns_of
from services.standalone.client_errors import client_errors_translated
from services.standalone.terminal import mute
from shared.errors import SettingsError
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.redaction import one_line
from trelay_client import CONNECTED, GAP, ClientCredentials, CursorFile, Frame, Token, subscribe

_SAVE_EVERY = 0.5
"""Seconds: as much as is printed again, at most, after the program was killed."""


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for."""

    url: str
    credentials: ClientCredentials | Token
    channels: Sequence[str]
    cursor: str | None
    cursor_file: CursorFile | None
    count: int | None
    trust: ssl.SSLContext | None
    quiet: bool


@click.command("subscribe")
@click.argument("url", default="http://127.0.0.1:8080", envvar="TRELAY_URL")
@click.option("--client-id", envvar="TRELAY_CLIENT_ID", show_envvar=True, help="Who subscribes.")
@click.option("--client-secret", envvar="TRELAY_CLIENT_SECRET", show_envvar=True,
              help="The client's secret; asked for if missing. As an option, other users may see it.")  # fmt: skip
@click.option("--token", envvar="TRELAY_TOKEN", show_envvar=True, help="A token, in place of id and secret.")
@click.option("--channels", metavar="PATTERNS", callback=patterns_of,
              help="'orders.eu,stock.**'; without it, all that is permitted.")  # fmt: skip
@click.option("--cursor", help="Resume from here; without it, from now on.")
@click.option("--cursor-file", type=click.Path(path_type=Path, dir_okay=False),
              help="Resume from the cursor in this file, and keep it there.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), help="Leave after so many events.")
@click.option("--ca", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="PEM file of whom to trust.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing of connections and losses; gaps are always said.")
def subscribe_and_print(  # noqa: PLR0913 -- click hands over each option by its name
    *,
    url: str,
    client_id: str | None,
    client_secret: str | None,
    token: str | None,
    channels: tuple[str, ...],
    cursor: str | None,
    cursor_file: Path | None,
    count: int | None,
    ca: Path | None,
    quiet: bool,
) -> None:
    """Subscribe, and print each event as one line of JSON.

    URL is where the experience layer is: http://127.0.0.1:8080, unless TRELAY_URL says otherwise.

    It registers, comes back after any loss with its cursor, so that nothing is missed, and says on standard error what
    happens. It ends, with exit status 1, only when the server says not to come back.

    \b
    Examples:
      trelay subscribe --client-id demo --client-secret demo
      trelay subscribe https://relay.example.com --client-id billing --cursor-file billing.cursor | ./import-orders
    """  # noqa: D301 -- click's mark against rewrapping
    if cursor and cursor_file is not None:
        raise click.UsageError("give --cursor or --cursor-file, not both")
    if cursor_file is not None and not cursor_file.absolute().parent.is_dir():
        raise click.UsageError(f"there is no folder {cursor_file.parent} for the cursor")
    file = None if cursor_file is None else CursorFile(cursor_file)
    order = Order(
        url,
        _credentials(client_id, client_secret, token),
        channels,
        _loaded(file) if file is not None else cursor or None,
        file,
        count,
        _trust(ca),
        quiet,
    )
    try:
        with client_errors_translated():
            uvloop.run(_until_told(order))
    except BrokenPipeError:
        mute()  # the reader of the output, such as `head`, has closed it


def _loaded(file: CursorFile) -> str | None:
    with client_errors_translated():
        return file.load()


def _credentials(client_id: str | None, client_secret: str | None, token: str | None) -> ClientCredentials | Token:
    if token is not None:
        if client_secret is not None:
            raise click.UsageError("give --token, or --client-id with --client-secret, not both")
        return Token(token)
    if client_id is None:
        raise click.UsageError("say who subscribes: --client-id, with --client-secret, or --token")
    if not client_secret and (sys.stdin is None or not sys.stdin.isatty()):
        raise click.UsageError("say the secret, too: in TRELAY_CLIENT_SECRET, or by --client-secret")
    return ClientCredentials(client_id, client_secret or click.prompt("Secret", hide_input=True, err=True))


def _trust(ca: Path | None) -> ssl.SSLContext | None:
    if ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as exc:
        raise SettingsError(f"{ca} holds no certificates: {exc.strerror or exc}") from exc


async def _until_told(order: Order) -> None:
    """Print events until a signal comes; both signals are an orderly end."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await _print_events(order)


async def _print_events(order: Order) -> None:
    printed = 0
    kept = _Keeping(order.cursor_file)
    stream = subscribe(
        order.url,
        order.credentials,
        order.channels,
        order.cursor,
        on_retry=lambda said: None if order.quiet else _say(said),
        ssl_context=order.trust,
    )
    try:
        async with aclosing(stream) as frames:
            async for frame in frames:
                if frame.own:
                    _say_own(frame, quiet=order.quiet)
                else:
                    click.echo(frame.text)
                    printed += 1
                # After the event is printed: a crash in between prints it twice and never not at all.
                await kept.note(frame.cursor)
                if printed == order.count:
                    return
    finally:
        await kept.save()


class _Keeping:
    """Keeps the cursor in a file, not more often than it is worth."""

    def __init__(self, file: CursorFile | None) -> None:
        self._file = file
        self._cursor: str | None = None
        self._saved_at = 0.0

    async def note(self, cursor: str | None) -> None:
        """Remember how far it has come."""
        self._cursor = cursor or self._cursor
        if self._file is not None and SYSTEM_CLOCK.monotonic() - self._saved_at >= _SAVE_EVERY:
            self._saved_at = SYSTEM_CLOCK.monotonic()
            await self.save()

    async def save(self) -> None:
        """Write it down."""
        if self._file is not None and self._cursor is not None:
            await asyncio.to_thread(self._file.save, self._cursor)


def _say_own(frame: Frame, *, quiet: bool) -> None:
    kind = str(frame.event.get("type"))
    data = frame.event.get("data")
    details = data if isinstance(data, dict) else {}
    if kind == GAP:
        _say(f"events may be missing before this: {details.get('reason')}: {details.get('detail')}")
    elif kind == CONNECTED and not quiet:
        _say(f"connected, to {_list(details.get('channels'))}; the next event comes after cursor {frame.cursor}")
    elif not quiet:
        _say(f"{kind}: {json.dumps(data)}")


def _list(channels: object) -> str:
    return ", ".join(map(str, channels)) if isinstance(channels, list) and channels else "every channel"


def _say(sentence: str) -> None:
    # What a server says may hold anything, and is shown on a terminal.
    click.echo(one_line(sentence), err=True)
