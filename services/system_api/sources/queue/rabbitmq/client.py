"""The connection to RabbitMQ; the one module that knows aio-pika's errors."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aio_pika
from aio_pika.exceptions import (
    AMQPError,
    ChannelClosed,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from aiormq.abc import AbstractChannel, DeliveredMessage  # aio-pika's own connection: one task and one object less
from aiormq.exceptions import ChannelAccessRefused, ChannelLockedResource

from services.system_api.sources.queue.closing import surely_closed
from services.system_api.sources.queue.rabbitmq.decoding import tolerate
from services.system_api.sources.queue.rabbitmq.options import RabbitmqSourceOptions
from shared.errors import Unauthorized, Unavailable, underlying_reason
from shared.runtime.tls_errors import certificate_problem

__all__ = [
    "AbstractChannel",
    "ChannelAccessRefused",
    "ChannelPreconditionFailed",
    "DeliveredMessage",
    "RabbitmqClient",
    "lost",
    "rabbitmq_errors",
    "text_headers",
    "watch",
]

_NO_QUEUE = "no queue"

# Trelay reports each outage itself, once, and closing a broken connection is a part of it.
for _noisy in ("aiormq", "aio_pika"):
    logging.getLogger(_noisy).setLevel(logging.CRITICAL)


@contextmanager
def rabbitmq_errors(options: RabbitmqSourceOptions) -> Iterator[None]:
    """Translate the errors of aio-pika; a broken channel says so itself, and is not used again."""
    place = f"RabbitMQ at {options.host}:{options.port}"
    try:
        yield
    except ProbableAuthenticationError as exc:
        raise Unauthorized(
            f"{place} refuses user {options.user or 'guest'!r}: {exc}; set `url` and `password` to an account of this"
            " broker"
        ) from exc
    except ChannelAccessRefused as exc:
        if "exclusive" in _reason(exc):
            raise Unavailable(
                f"{place}: another consumer reads {options.in_words}; stop it, or set `exclusive: false`"
            ) from exc
        raise Unauthorized(
            f"{place}: user {options.user or 'guest'!r} may not read {options.in_words}: {_reason(exc)}"
        ) from exc
    except ChannelLockedResource as exc:
        raise Unavailable(f"{place}: {options.in_words} belongs to another connection: {_reason(exc)}") from exc
    except ChannelNotFoundEntity as exc:
        if _NO_QUEUE in _reason(exc):  # or else its node is down
            options.note_missing(options.target)
        raise Unavailable(
            f"{place}: {options.in_words} does not exist in virtual host {options.virtual_host!r}; its owner must"
            " declare it"
        ) from exc
    except InvalidFrameError as exc:
        raise Unavailable(
            f"{place}: cannot open virtual host {options.virtual_host!r}: it does not exist, or user"
            f" {options.user or 'guest'!r} has no access to it"
        ) from exc
    except TimeoutError as exc:
        raise Unavailable(f"{place} did not answer within {options.connect_timeout:g} s") from exc
    except (AMQPError, ChannelInvalidStateError, OSError, RuntimeError) as exc:
        problem = certificate_problem(exc, anonymous=options.anonymous)
        raise Unavailable(f"{place}: {problem or _reason(exc)}") from exc


class RabbitmqClient:
    """One connection with one channel at a time: RabbitMQ closes a channel at each error."""

    def __init__(self, options: RabbitmqSourceOptions, connection: aio_pika.abc.AbstractConnection) -> None:
        self._options = options
        self._connection = connection

    @property
    def major_version(self) -> int:
        """The first number of the broker's version; 0 where it tells none."""
        transport: Any = self._connection.transport
        version = str(transport.connection.server_properties.get("version", "")).partition(".")[0]
        return int(version) if version.isdecimal() else 0

    @classmethod
    @asynccontextmanager
    async def connected(cls, options: RabbitmqSourceOptions, name: str) -> AsyncIterator["RabbitmqClient"]:
        """Connect for as long as the context lasts.

        Raises:
            Unavailable: the broker does not answer.
            Unauthorized: it refuses the credentials.
            SettingsError: a certificate file cannot be used.
        """
        tolerate()
        opening = _connect(options, name)
        async with surely_closed("connection to RabbitMQ", opening, lambda connection: connection.close()) as opened:
            yield cls(options, opened)

    async def channel(self) -> AbstractChannel:
        """Open a channel."""
        with rabbitmq_errors(self._options):
            async with asyncio.timeout(self._options.connect_timeout):
                channel = self._connection.channel(publisher_confirms=False)
                await channel.initialize()
                return await channel.get_underlay_channel()


async def _connect(options: RabbitmqSourceOptions, name: str) -> aio_pika.abc.AbstractConnection:
    context = await asyncio.to_thread(options.tls_context)
    with rabbitmq_errors(options):
        async with asyncio.timeout(options.connect_timeout):
            url = aio_pika.connection.make_url(
                host=options.host,
                port=options.port,
                login=options.user or "guest",
                password=options.secret or "guest",
                virtualhost=options.virtual_host,
                ssl=context is not None,
                heartbeat=options.heartbeat,
            )
            connection = aio_pika.Connection(
                url, ssl_context=context, client_properties={"connection_name": f"trelay source {name}"}
            )
            try:
                await connection.connect()
            except BaseException:
                # One that is not closed closes itself when it is destroyed, in whatever thread that happens.
                await connection.close()
                raise
            return connection


def watch(channel: AbstractChannel, closed: Callable[[], None], cancelled: Callable[[], None]) -> None:
    """Call `closed` when a channel is closed, and `cancelled` when the broker cancels a consumer of it."""
    channel.closing.add_done_callback(lambda _: closed())
    channel.on_consumer_cancel_callbacks.add(lambda _: cancelled())


def lost(channel: AbstractChannel, options: RabbitmqSourceOptions) -> Unavailable:
    """Return why a closed channel is closed."""
    closing = channel.closing
    error = None if closing.cancelled() else closing.exception()
    try:
        with rabbitmq_errors(options):
            raise error or ConnectionError("the connection was closed")
    except Unavailable as exc:
        return exc


def text_headers(headers: Mapping[str, Any] | None) -> dict[str, str]:
    """Return headers as text; those that are tables or lists are left out."""
    found = {}
    for name, value in (headers or {}).items():
        if isinstance(value, bytes | bytearray):
            found[name] = value.decode(errors="replace")
        elif isinstance(value, bool):
            found[name] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            found[name] = str(value)
    return found


def _reason(error: BaseException) -> str:
    if isinstance(error, ChannelClosed) and len(error.args) > 1:
        return str(error.args[-1])
    return underlying_reason(error) or str(error) or type(error).__name__
