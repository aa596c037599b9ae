"""The connection to NATS; the one module that knows nats-py's errors."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import AuthorizationError, Error, NoRespondersError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    ConsumerInfo,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamInfo,
)
from nats.js.errors import NotFoundError, ServiceUnavailableError

from services.system_api.sources.queue.closing import surely_closed
from services.system_api.sources.queue.nats.options import NatsSourceOptions
from shared.errors import SettingsError, Unauthorized, Unavailable, underlying_reason
from shared.runtime.tls_errors import certificate_problem

__all__ = [
    "AckPolicy",
    "Client",
    "ConsumerConfig",
    "ConsumerInfo",
    "DeliverPolicy",
    "DiscardPolicy",
    "JetStreamContext",
    "Msg",
    "NotFoundError",
    "RetentionPolicy",
    "StorageType",
    "StreamInfo",
    "UnreadableHeaders",
    "connected",
    "nats_errors",
]

_REFUSED = "authorization violation"
_CREDENTIALS = "set `url` and `password`, or `token`, to an account of this server"
_PING_INTERVAL = 5
_PINGS = 2
"""A server that answers none of so many pings is lost."""

# Trelay reports each outage itself, once.
logging.getLogger("nats").setLevel(logging.CRITICAL)


class UnreadableHeaders(dict[str, str]):
    """The headers of a message whose header block cannot be read: none."""


class _Client(Client):
    """A client that reads on behind what it cannot read: nats-py stops to read then, without a word.

    The server stores whatever subject and block of headers a sender has sent, such as a block of 8 bytes.
    """

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (IndexError, ValueError):
            return UnreadableHeaders()

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Any:
        readable = subject.decode(errors="backslashreplace").encode()
        return super()._build_message(sid, readable, reply, data, headers)


def _place(options: NatsSourceOptions) -> str:
    return "NATS at " + ", ".join(f"{host}:{port}" for host, port in options.addresses)


@contextmanager
def nats_errors(options: NatsSourceOptions, client: Client | None = None) -> Iterator[None]:
    """Translate the errors of nats-py."""
    place = _place(options)
    try:
        yield
    except AuthorizationError as exc:
        raise Unauthorized(f"{place} refuses the credentials; {_CREDENTIALS}") from exc
    except NotFoundError as exc:
        options.note_missing(options.stream)
        raise Unavailable(f"{place}: {options.in_words} does not exist; its owner must create it") from exc
    except (NoRespondersError, ServiceUnavailableError) as exc:
        if client is not None and not client._server_info.get("jetstream"):  # noqa: SLF001 -- it has no other name
            raise SettingsError(
                f"url: {place} has no JetStream, and core NATS keeps no messages; start the server with -js"
            ) from exc
        raise Unavailable(f"{place}: JetStream does not answer") from exc
    except TimeoutError as exc:  # that of nats-py is one
        raise Unavailable(f"{place} did not answer within {options.connect_timeout:g} s") from exc
    except (Error, OSError) as exc:
        if _REFUSED in str(exc).lower():  # while it connects, it has no class of its own
            raise Unauthorized(f"{place} refuses the credentials; {_CREDENTIALS}") from exc
        problem = certificate_problem(exc, anonymous=options.anonymous) or underlying_reason(exc)
        raise Unavailable(f"{place}: {problem or str(exc).removeprefix('nats: ') or type(exc).__name__}") from exc


@asynccontextmanager
async def connected(options: NatsSourceOptions, name: str, closed: Callable[[], None]) -> AsyncIterator[Client]:
    """Connect for as long as the context lasts; `closed` is called when the connection is lost.

    Raises:
        Unavailable: no server answers.
        Unauthorized: it refuses the credentials.
        SettingsError: a certificate file cannot be used.
    """
    opening = _connect(options, name, closed)
    async with surely_closed("connection to NATS", opening, lambda client: client.close()) as client:
        yield client


async def _connect(options: NatsSourceOptions, name: str, closed: Callable[[], None]) -> Client:
    context = await asyncio.to_thread(options.tls_context)
    problems: list[Exception] = []
    client = _Client()

    def drop() -> None:
        transport = client._transport  # noqa: SLF001 -- nats-py leaves that of a failed attempt open
        if transport is not None and not client.is_connected:
            transport.close()  # type: ignore[no-untyped-call] # published without types

    async def note(error: Exception) -> None:
        problems.append(error)
        drop()

    async def note_closed() -> None:
        closed()

    with nats_errors(options):
        try:
            async with asyncio.timeout(options.connect_timeout):
                await client.connect(
                    [f"nats://{host}:{port}" for host, port in _bracketed(options)],
                    name=f"trelay source {name}",
                    tls=context,
                    user=options.user,
                    password=options.secret,
                    token=None if options.token is None else options.token.get_secret_value(),
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=max(1, int(options.connect_timeout)),
                    ping_interval=_PING_INTERVAL,
                    max_outstanding_pings=_PINGS,
                    error_cb=note,
                    closed_cb=note_closed,
                )
        except nats.errors.NoServersError:
            # It hides why each server was given up.
            raise next(iter(problems), OSError("no server answers")) from None
        except BaseException:
            drop()
            raise
    return client


def _bracketed(options: NatsSourceOptions) -> list[tuple[str, int]]:
    return [(f"[{host}]" if ":" in host else host, port) for host, port in options.addresses]
