"""Subscribes, across all connections: does what `state` decides."""

import json
import logging
import random
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing

import aiohttp
from yarl import URL

from trelay_client.ahead import read_ahead
from trelay_client.attaching import Attached
from trelay_client.channels.changeable import BlockingChannels, Channels
from trelay_client.clock import SYSTEM_CLOCK, Clock
from trelay_client.connection import CONNECT_TIMEOUT, DETAIL_LIMIT, Connection, Parts, Refusals
from trelay_client.credentials import ClientCredentials, Token, check_credentials
from trelay_client.errors import UsageError
from trelay_client.sending import BlockingSender, Sender
from trelay_client.state import Frame, Reconnect, SubscriptionState, UnreadableFrame, is_shown

logger = logging.getLogger(__name__)

Subscribed = Sequence[str] | Channels | BlockingChannels
"""Channels or patterns, all that the client may read without any; or such that change while the subscription runs."""


def log_unreadable(frame: UnreadableFrame) -> None:
    """Log a frame that cannot be read, with its beginning."""
    fields = {"cursor": frame.cursor, "reason": frame.reason, "frame": frame.text[:DETAIL_LIMIT]}
    logger.warning("skipping unreadable frame", extra=fields)


def log_retry(text: str) -> None:
    """Log why the stream was lost, and when it is tried again: nothing else tells a program that it waits."""
    logger.warning("%s", text)


async def subscribe(  # noqa: PLR0913 -- tests replace three of them
    url: str,
    credentials: ClientCredentials | Token,
    channels: Subscribed = (),
    cursor: str | None = None,
    *,
    filters: Mapping[str, str] | None = None,
    since: str | None = None,
    snapshot: bool = False,
    conflate: str | None = None,
    watermarks: int | None = None,
    answer_heartbeats: bool = False,
    heartbeats: bool = False,
    sender: Sender | BlockingSender | None = None,
    on_retry: Callable[[str], None] = log_retry,
    on_unreadable: Callable[[UnreadableFrame], None] = log_unreadable,
    ssl_context: ssl.SSLContext | None = None,
    clock: Clock = SYSTEM_CLOCK,
    rng: random.Random | None = None,
) -> AsyncGenerator[Frame, None]:
    """Yield every event once, and Trelay's control events (connected, gap, watermark), until closed.

    `url` is the address of the experience layer, `channels` narrows the subscription, `cursor` resumes. Those of
    `Channels` change while the subscription runs, and have their filters themselves. `filters` are predicates over
    events, by a pattern of `channels`: `{"orders.*": "total > 100"}`. Without a cursor, it begins at `since`:
    `earliest`, a duration such as `15m`, or a time in RFC 3339; or, with `snapshot`, with the latest event of each
    subject, between two `trelay.snapshot` events. `conflate` is a duration such as `500ms`: of the events of that time,
    only the latest one of each subject is received. With `watermarks`, in seconds, a `trelay.watermark` tells at most
    so often up to when each source has been read, so that silence means that nothing has changed. With
    `answer_heartbeats`, the relay finds out that this program does not run any more, even where a proxy answers pings
    for it. `heartbeats` yields those that move the cursor as well: a program that keeps the cursor itself, and whose
    channels are quiet, then resumes behind the events of others. `sender` sends messages over the connection, and
    receives the answers to them.

    `on_retry` receives a text before each pause: what happened, and the seconds until the next attempt; by default it
    is logged as a warning. `on_unreadable` receives each frame that cannot be read, and may raise to end the stream;
    the events behind that frame follow, and it does not come again. Close the generator (`contextlib.aclosing`) to
    disconnect.

    Raises:
        Stopped: the client must not reconnect.
        UsageError: the URL or the credentials are invalid, there are filters beside `Channels`, or another subscription
            uses the sender or the channels.
    """
    base = base_url(url)
    check_credentials(credentials)
    can_register = isinstance(credentials, ClientCredentials)
    state = SubscriptionState(cursor, can_register=can_register, rng=rng or random.Random())  # noqa: S311 -- jitter
    changes = channels.changes if isinstance(channels, Channels | BlockingChannels) else None
    if changes is not None and filters:
        raise UsageError("filters: found beside the channels that have their own; expected `Channels(…, filters)`")
    given = {
        "channels": None if isinstance(channels, Channels | BlockingChannels) else ",".join(channels),
        "filters": json.dumps(dict(filters)) if filters else None,
        "since": since,
        "snapshot": "true" if snapshot else None,  # a cursor comes before it
        "conflate": conflate,
        "watermarks": watermarks and str(watermarks),
        "heartbeat": "answer" if answer_heartbeats else "event",
    }
    query = {name: text for name, text in given.items() if text}
    parts = Parts(None if sender is None else sender.messages, changes)
    attached: list[Attached] = [part for part in parts if part is not None]
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT, sock_read=CONNECT_TIMEOUT)
    connector = aiohttp.TCPConnector(ssl=True if ssl_context is None else ssl_context)
    refusals = Refusals()
    async with aiohttp.ClientSession(
        timeout=timeout, connector=connector, trace_configs=[refusals.tracing()]
    ) as session:
        connection = Connection(session, refusals, base, query, state, clock, parts)
        frames = _frames(connection, credentials, clock, on_retry, on_unreadable)
        async with aclosing(read_ahead(frames, attached) if attached else frames) as found:
            async for frame in found:
                if is_shown(frame, heartbeats=heartbeats):
                    yield frame


async def _frames(
    connection: Connection,
    credentials: ClientCredentials | Token,
    clock: Clock,
    on_retry: Callable[[str], None],
    on_unreadable: Callable[[UnreadableFrame], None],
) -> AsyncGenerator[Frame, None]:
    token = credentials.token if isinstance(credentials, Token) else None
    while True:
        upcoming: Reconnect | None = None
        if token is None and isinstance(credentials, ClientCredentials):
            token, upcoming = await connection.register(credentials)
        if token is not None:
            async with aclosing(connection.frames(token)) as items:  # closed here, not by the garbage collector
                async for item in items:
                    if isinstance(item, Frame):
                        yield item
                    elif isinstance(item, UnreadableFrame):
                        on_unreadable(item)
                    else:
                        upcoming = item
        assert upcoming is not None, "an attempt ends with a reconnection"
        if upcoming.register:
            token = None
        on_retry(f"{upcoming.reason}; retrying in {upcoming.pause:.1f} s")
        await clock.sleep(upcoming.pause)


def base_url(url: str) -> URL:
    """Parse the address of the experience layer. `ws` and `wss` mean `http` and `https`.

    Raises:
        UsageError: it is not such an address.
    """
    try:
        found = URL(url)
    except ValueError as exc:
        raise UsageError(f"found {url!r}; expected a URL: {exc}") from exc
    scheme = {"ws": "http", "wss": "https"}.get(found.scheme, found.scheme)
    if scheme not in {"http", "https"} or not found.host:
        raise UsageError(f"found {url!r}; expected a URL, such as https://trelay.example.com")
    path = found.path.removesuffix("/").removesuffix("/ws/publish")
    return found.with_scheme(scheme).with_path(path or "/").with_query(None).with_fragment(None)
