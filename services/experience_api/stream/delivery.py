"""Exactly-once delivery to sockets: composes the parts of the stream, and serves the connections of this replica.

bus -> feed -> history -> hub -> outboxes. A subscriber that is not live reaches the head of the stream by `catch_up`.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from typing import Self

from aiohttp import web

from services.experience_api import refusals
from services.experience_api.hub.audience import Subscriber
from services.experience_api.hub.close_codes import DRAINING, LOST
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.hub import Hub
from services.experience_api.hub.outbox import Outbox
from services.experience_api.hub.progress import descriptor
from services.experience_api.hub.websocket import Socket
from services.experience_api.latest.opening import Latest
from services.experience_api.refusals import Refused
from services.experience_api.stream.broadcast import Broadcast
from services.experience_api.stream.callbacks import Callbacks, Counts, Served
from services.experience_api.stream.catching_up.catch_up import CatchUp
from services.experience_api.stream.catching_up.replay_writer import ReplayWriter
from services.experience_api.stream.compressing import Compressing
from services.experience_api.stream.control_events import ControlEvents
from services.experience_api.stream.drain import waves
from services.experience_api.stream.feed import Feed
from services.experience_api.stream.history import History
from services.experience_api.stream.log_reader import LogReader
from services.experience_api.stream.options import DeliveryOptions
from services.experience_api.stream.oversized import OversizedEvents
from services.experience_api.stream.receiving import Receiver
from services.experience_api.stream.snapshots.connecting import Beginning
from services.experience_api.stream.snapshots.opening import SnapshotParts
from services.experience_api.stream.snapshots.sending import SnapshotCounts
from services.experience_api.stream.traced_reads import traced_reads
from services.experience_api.stream.watermarks.sending import Watermarks
from services.experience_api.wire.cursor import CursorCodec, Vector
from services.experience_api.wire.deflate import PLAIN, Deflater
from services.experience_api.wire.frames import PING
from shared.bus.protocol import Bus
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks

_CONSUMER_MESSAGE_BYTES = 1024
"""Bytes read of a message from a consumer that may not send."""

OnOpen = Callable[[Connection], None]


class Delivery:
    """The stream of one replica. While its context is open it reads the publish topic and serves connections."""

    def __init__(  # noqa: PLR0913 -- what it is made of, each from another part
        self,
        bus: Bus,
        topic: str,
        options: DeliveryOptions,
        *,
        callbacks: Callbacks,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random | None = None,
        largest_frame: int = 1_048_576,
        watermarks: str | None = None,
        latest: Latest | None = None,
    ) -> None:
        """`largest_frame` is the bytes of the largest message that subscribers have to accept, `watermarks` a topic.

        `latest` are the latest events; without them, there are no snapshots.
        """
        self._bus = bus
        self._options = options
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 -- spreads subscribers, guards nothing
        self._callbacks = callbacks
        self._control_events = ControlEvents(clock, options.hub.heartbeat.seconds, largest_frame, options.inbound_bytes)
        self._oversized = OversizedEvents()
        self._history = History(CursorCodec("", 0), (), options.history)
        self._deflater = Deflater(options.compression)
        compressing = Compressing(self._deflater)
        self._hub = Hub(options.hub, clock, self._deflater)
        self._log_reader = LogReader(bus, topic, options.catch_up.log_reader)
        writer = ReplayWriter(
            self._history,
            self._log_reader,
            self._control_events,
            compressing,
            drain_timeout=options.catch_up.drain_timeout,
            pause=self._pause,
        )
        self._catch_up = CatchUp(
            self._history,
            writer,
            self._control_events,
            self._hub.join,
            round_bytes=options.catch_up.log_reader.chunk_bytes,
            clock=clock,
            on_round=self._on_round,
        )
        self.caught_up = self._catch_up.caught_up
        parts = SnapshotParts(self._history, self._log_reader, writer, self._control_events, clock, self._pause)
        self._snapshots = parts.snapshots(latest, self._proceed)
        self._broadcast = Broadcast(
            self._history, self._hub, self._catch_up, self._control_events, compressing, self._snapshots
        )
        self.beginning = Beginning(self._log_reader, self._history, self._snapshots, lambda: self._feed.ready)
        self._feed = Feed(
            bus,
            topic,
            self._history,
            sink=self._broadcast,
            options=options.feed,
            clock=clock,
            on_delay=callbacks.on_delay,
            on_delivered=traced_reads(callbacks.tracing, topic, self._hub.counts, callbacks.on_first),
        )
        self._watermarks = Watermarks(
            bus, watermarks, topic, self._history, self._broadcast.is_live, self._control_events, clock
        )
        self._tasks = Tasks()
        self._stack = AsyncExitStack()
        self._draining = False
        self._spread = 0.0  # seconds over which the subscribers that are closed reconnect
        self._serving = 0
        self._empty = asyncio.Event()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._catch_up)
            if self._snapshots is not None:
                await stack.enter_async_context(self._snapshots)
            await stack.enter_async_context(self._tasks)  # left first: the feed starts replays
            self._tasks.keep("feed", self._feed.run())
            self._tasks.keep("heartbeat", self._hub.run_heartbeat())
            self._watermarks.start(self._tasks)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def failed(self) -> BaseException:
        """Wait until the feed or the heartbeat fails, after which nothing can be served; return the error."""
        return await self._tasks.failed()

    @property
    def problem(self) -> str | None:
        """Why subscribers cannot be served at the moment, for `/readyz`; None if they can."""
        return self._feed.problem or self._bus.problem

    @property
    def counts(self) -> Counts:
        """The counts so far."""
        return Counts(
            self._hub.counts,
            self._catch_up.counts,
            self._catch_up.active,
            len(self._hub.connections),
            self._history.size,
            self._feed.malformed,
            self._deflater.counts,
            self._hub.compressed,
            self._catch_up.conflated,
            self._snapshots.counts if self._snapshots else SnapshotCounts(),
            self._snapshots.active if self._snapshots else 0,
        )

    @property
    def head(self) -> Vector:
        """The offsets up to which this replica has read the publish topic."""
        return self._history.head

    async def serve(
        self,
        request: web.Request,
        subscriber: Subscriber,
        cursor: str | None = None,
        protocols: tuple[str, ...] = (),
        on_open: OnOpen | None = None,
    ) -> Served:
        """Upgrade an admitted request, and deliver to it until the connection ends.

        `cursor` resumes. If that is impossible, the subscriber receives a `trelay.gap` and the stream begins now.
        `protocols` are the subprotocols to answer with. `on_open` receives the connection once it can be ended.

        Raises (before the upgrade):
            Refused: as `transport_of`.
            HTTPBadRequest: the request is not a WebSocket upgrade.
        """
        transport = self.transport_of(request)
        headers = request.headers
        offers, user_agent = headers.getall("Sec-WebSocket-Extensions", []), headers.get("User-Agent", "")
        agreed = self._options.compression.agree(offers, user_agent)
        window = PLAIN if agreed is None else agreed.window
        outbox = Outbox(transport, descriptor(transport), self._options.hub.outbox_bytes, window)
        peer = transport.get_extra_info("socket")
        connection = Connection(subscriber, outbox, transport, request.protocol, self.remove, peer)
        socket = Socket(
            connection,
            Receiver(self._callbacks, self._control_events, self._clock, self._options.inbound_per_second),
            protocols=protocols,
            extension=None if agreed is None else agreed.answer,
            limit=self._options.inbound_bytes if subscriber.may_send else _CONSUMER_MESSAGE_BYTES,
            close_timeout=self._options.close_timeout,
            slow_close_timeout=self._options.catch_up.drain_timeout,
        )
        with self.serving():
            await socket.prepare(request)
            if request.transport is None:  # lost during the upgrade, before `connection` was its protocol
                return Served(socket, LOST)
            transport.set_protocol(connection)
            self.start(connection, cursor, on_open)
            reason = await socket.run()
            self._oversized.ended(subscriber.client_id, cursor, socket.peer_code)
            return Served(socket, reason)

    # For every way in which a subscriber is served
    def transport_of(self, request: web.Request) -> asyncio.Transport:
        """Return the transport of a request that can be served now.

        Raises:
            Refused: `DRAINING`, or `UNAVAILABLE` while the publish topic has not been read yet.
            ConnectionResetError: the peer has disconnected.
        """
        if self._draining:
            raise Refused(refusals.DRAINING, retry_after=DRAINING.wait)
        if not self._feed.ready:
            raise Refused(refusals.UNAVAILABLE, "the stream is starting; try again", retry_after=1.0)
        if request.transport is None:
            raise ConnectionResetError("the connection was lost before its upgrade")
        return request.transport

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Count a connection for the drain, while the context is open."""
        self._serving += 1
        try:
            yield
        finally:
            self._serving -= 1
            if not self._serving:
                self._empty.set()

    def start(self, connection: Connection, cursor: str | None, on_open: OnOpen | None = None) -> None:
        """Deliver to a connection from a cursor on. `on_open` receives it once it can be ended."""
        if connection.subscriber.wants_heartbeat:
            connection.beat = lambda: PING + self._control_events.heartbeat(connection.subscriber, connection.reached)
        connection.change = partial(self._broadcast.subscribe, connection)
        self._hub.add(connection)
        self._watermarks.add(connection)
        if self._draining:
            self._end_draining(connection)
        else:
            tells = self._oversized.tells(connection.subscriber.client_id, cursor)
            self._broadcast.start(connection, cursor, self._callbacks.on_start, tells=tells)
        if on_open is not None:
            on_open(connection)

    def remove(self, connection: Connection) -> None:
        """Deliver nothing more to a connection."""
        self._callbacks.on_end(connection)
        self._watermarks.remove(connection)
        self._broadcast.remove(connection)

    async def drain(self, within: float) -> None:
        """Refuse new connections, and close all others in waves. Returns after `within` seconds at the latest."""
        self._draining = True
        self._empty.clear()
        options = self._options.drain
        connections = list(self._hub.connections.values())
        self._spread = options.spread_of(len(connections))
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                for wave in waves(connections, within, options, self._rng):
                    for connection in wave:
                        self._end_draining(connection)
                    await self._clock.sleep(options.pause)
                while self._serving:
                    self._empty.clear()
                    await self._empty.wait()

    def _end_draining(self, connection: Connection) -> None:
        wait = self._rng.uniform(0.0, self._spread)
        connection.outbox.offer(self._control_events.draining(connection.subscriber, wait, connection.reached))
        connection.end(DRAINING, wait)

    def _proceed(self, connection: Connection, vector: Vector, tells: bool) -> None:  # noqa: FBT001 -- a callback
        self._broadcast.proceed(connection, vector, tells=tells)

    def _on_round(self, connection: Connection) -> None:
        self._watermarks.send_to(connection)

    async def _pause(self) -> None:
        await self._clock.sleep(self._rng.uniform(0.5, 1.5))
