"""Exactly-once delivery to sockets: what the routes of this service call, and how its parts work together.

bus -> feed -> history -> hub -> outboxes; a subscriber that is not where everybody is gets there by `resume`.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self
from uuid import UUID

from aiohttp import web
from pydantic import Field

from services.experience_api import refusals
from services.experience_api.broadcast import Broadcast
from services.experience_api.cursor import CursorCodec
from services.experience_api.drain import DrainOptions, waves
from services.experience_api.feed import Feed, FeedOptions, OnDelay
from services.experience_api.history import History, HistoryOptions
from services.experience_api.hub.close_codes import DRAINING, LOST, MAY_NOT_SEND, CloseReason
from services.experience_api.hub.connection import Connection, Subscriber
from services.experience_api.hub.hub import Hub, HubCounts, HubOptions
from services.experience_api.hub.outbox import Outbox
from services.experience_api.hub.websocket import Socket
from services.experience_api.own_events import OwnEvents
from services.experience_api.past import Past
from services.experience_api.refusals import Refused
from services.experience_api.resume import Resume, ResumeCounts, ResumeOptions
from shared.bus.protocol import Bus
from shared.clock import SYSTEM_CLOCK, Clock
from shared.settings import Options
from shared.tasks import Tasks

_CONSUMER_MESSAGE_BYTES = 1024
"""Consumers may not send at all; so much is read of what one sends nevertheless."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Whom the stream tells what it does not act on itself."""

    on_refused: Callable[[Subscriber], None]
    """A consumer sent something, and its connection ends for it. Must not block."""
    on_inbound: Callable[[Subscriber, bytes], Awaitable[None]]
    """A client that may send has sent a message; its next one is read afterwards."""
    on_delay: OnDelay
    """One observation for each batch that was written."""


class DeliveryOptions(Options):
    """How events reach subscribers."""

    feed: FeedOptions = FeedOptions()
    """How the publish topic is read."""
    history: HistoryOptions = HistoryOptions()
    """The latest events, kept in memory for subscribers that resume."""
    hub: HubOptions = HubOptions()
    """The open connections."""
    resume: ResumeOptions = ResumeOptions()
    """How subscribers catch up from a cursor."""
    drain: DrainOptions = DrainOptions()
    """How subscribers are sent to other replicas when the service stops."""

    close_seconds: float = Field(default=5.0, gt=0)
    """How long a peer may take to answer a Close frame before its connection is dropped."""

    inbound_bytes: int = Field(default=256 * 1024, ge=1)
    """The largest message a client that may send can send."""


class Served(NamedTuple):
    """How a connection ended."""

    response: web.WebSocketResponse
    """What the aiohttp handler has to return."""
    reason: CloseReason


class Counts(NamedTuple):
    """Plain numbers, for metrics to read when they are asked for."""

    hub: HubCounts
    resume: ResumeCounts
    catching_up: int
    connections: int
    history_bytes: int
    malformed: int
    """Records on the publish topic that no subscriber can be given."""


class Delivery:
    """The stream of one replica: enter it to read the publish topic, and `serve` connections meanwhile."""

    def __init__(
        self,
        bus: Bus,
        topic: str,
        options: DeliveryOptions,
        *,
        callbacks: Callbacks,
        clock: Clock = SYSTEM_CLOCK,
        dice: random.Random | None = None,
    ) -> None:
        self._bus = bus
        self._options = options
        self._clock = clock
        self._dice = dice or random.Random()  # noqa: S311 -- spreads subscribers, guards nothing
        self._callbacks = callbacks
        self._own_events = OwnEvents(clock, options.hub.heartbeat.seconds)
        self._history = History(CursorCodec("", 0), (), options.history)
        self._hub = Hub(options.hub, clock)
        past = Past(bus, topic, options.resume.past)
        self._resume = Resume(
            self._history, past, self._own_events, self._hub.join, options=options.resume, pause=self._pause
        )
        self._broadcast = Broadcast(self._history, self._hub, self._resume, self._own_events)
        self._feed = Feed(
            bus,
            topic,
            self._history,
            readers=self._broadcast,
            options=options.feed,
            clock=clock,
            on_delay=callbacks.on_delay,
        )
        self._tasks = Tasks()
        self._draining = False
        self._serving = 0
        self._empty = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        await self._resume.__aenter__()
        self._tasks.keep("feed", self._feed.follow())
        self._tasks.keep("heartbeat", self._hub.keep_heartbeat())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(exc_type, exc, traceback)
        await self._resume.__aexit__(exc_type, exc, traceback)

    async def failed(self) -> BaseException:
        """Wait until the feed or the heartbeat ends by a fault of ours, which leaves nothing to serve from."""
        return await self._tasks.failed()

    @property
    def trouble(self) -> str | None:
        """Why subscribers cannot be served well at the moment, for `/readyz`; None while they can."""
        return self._feed.trouble or self._bus.trouble

    @property
    def connections(self) -> Mapping[UUID, Subscriber]:
        """Who is connected here."""
        return {number: connection.subscriber for number, connection in self._hub.connections.items()}

    @property
    def counts(self) -> Counts:
        """What has happened so far."""
        return Counts(
            self._hub.counts,
            self._resume.counts,
            self._resume.under_way,
            len(self._hub.connections),
            self._history.size,
            self._feed.malformed,
        )

    async def serve(
        self,
        request: web.Request,
        subscriber: Subscriber,
        cursor: str | None = None,
        protocols: tuple[str, ...] = (),
        arrived: Callable[[Connection], None] | None = None,
    ) -> Served:
        """Upgrade a request that was let in, and deliver to it for as long as it lasts.

        `cursor` resumes; what cannot be resumed is told as a `trelay.gap`, and the stream begins now. `protocols` are
        the subprotocols on offer. `arrived` is handed the connection once it can be ended.

        Raises (before the upgrade):
            Refused: `DRAINING`, or `UNAVAILABLE` while the publish topic has not been read yet.
            HTTPBadRequest: the request is no WebSocket upgrade.
        """
        if self._draining:
            raise Refused(refusals.DRAINING, retry_after=DRAINING.wait)
        if not self._feed.open:
            raise Refused(refusals.UNAVAILABLE, "the stream is not ready yet", retry_after=1.0)
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the connection was lost before its upgrade")
        outbox = Outbox(transport, _descriptor(transport), self._options.hub.outbox_bytes)
        connection = Connection(subscriber, outbox, transport, request.protocol, self._broadcast.leave)
        limit = self._options.inbound_bytes if subscriber.may_send else _CONSUMER_MESSAGE_BYTES
        socket = Socket(connection, self, protocols=protocols, limit=limit, patience=self._options.close_seconds)
        self._serving += 1
        try:
            await socket.prepare(request)
            if request.transport is None:  # lost meanwhile, unseen by us
                return Served(socket, LOST)
            transport.set_protocol(connection)
            self._greet(connection, cursor)
            if arrived is not None:
                arrived(connection)
            return Served(socket, await socket.attend())
        finally:
            self._serving -= 1
            if not self._serving:
                self._empty.set()

    def end(self, connection_id: UUID, reason: CloseReason) -> bool:
        """Close a connection; returns at once. False where it is not here."""
        return self._hub.end(connection_id, reason)

    async def answers(self, connection_id: UUID, within: float) -> bool:
        """Ping a connection; False where nothing is heard of it within so many seconds, or it is not here."""
        connection = self._hub.connections.get(connection_id)
        return connection is not None and await connection.answers(within)

    async def drain(self, within: float) -> None:
        """Let nobody in any more, and send everybody away in waves; returns after `within` seconds at the latest."""
        self._draining = True
        self._empty.clear()
        options = self._options.drain
        try:
            async with asyncio.timeout(within):
                for wave in waves(list(self._hub.connections.values()), within, options, self._dice):
                    for connection in wave:
                        self._send_away(connection)
                    await self._clock.sleep(options.pause)
                while self._serving:
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            return

    # Listener

    async def received(self, connection: Connection, message: bytes) -> None:
        if connection.subscriber.may_send:
            await self._callbacks.on_inbound(connection.subscriber, message)
        else:
            self._refuse(connection)

    def oversized(self, connection: Connection) -> None:
        if not connection.subscriber.may_send:
            self._refuse(connection)

    def _refuse(self, connection: Connection) -> None:
        connection.outbox.offer(self._own_events.refused(connection.subscriber, "consumers may not send"))
        connection.end(MAY_NOT_SEND)
        self._callbacks.on_refused(connection.subscriber)

    def _greet(self, connection: Connection, cursor: str | None) -> None:
        self._hub.arrive(connection)
        if self._draining:
            self._send_away(connection)
        else:
            self._broadcast.begin(connection, cursor)

    def _send_away(self, connection: Connection) -> None:
        wait = (DRAINING.wait or 0.0) + self._dice.uniform(0.0, self._options.drain.spread)
        connection.outbox.offer(self._own_events.draining(connection.subscriber, wait))
        connection.end(DRAINING, wait)

    async def _pause(self) -> None:
        await self._clock.sleep(self._dice.uniform(0.5, 1.5))


def _descriptor(transport: asyncio.Transport) -> int | None:
    """Return the file descriptor that plain bytes may be written to; None under TLS."""
    if transport.get_extra_info("sslcontext") is not None:
        return None
    socket = transport.get_extra_info("socket")
    return None if socket is None else int(socket.fileno())
