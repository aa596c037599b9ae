"""A queue or topic as a source: receives, publishes with the checkpoint, and acknowledges what is committed.

    receive       what waits in the broker; a lost connection is opened again by the next poll
    published?    a message that was published before is dropped, and acknowledged with the others
    event         or a reject: a message that cannot be an event, or that was delivered too often
    settle        the transaction is committed: acknowledge

A message is acknowledged only after the transaction that holds its event and its place in the checkpoint.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from services.system_api.sources.queue.deliveries import Deliveries
from services.system_api.sources.queue.events import MessageEvents
from services.system_api.sources.queue.message import Broker, Connection, Message, Received
from services.system_api.sources.queue.options import QueueSourceOptions
from services.system_api.sources.source import Batch
from shared.errors import Malformed, SettingsError, Unavailable


@dataclass(slots=True)
class _Unsettled:
    """The messages of one batch, and the connection that delivered them."""

    connection: Connection
    messages: list[Message]


class QueueSource:
    """A `Source` of one queue or topic; `opened` makes it."""

    def __init__(
        self, name: str, broker: Broker, events: MessageEvents, options: QueueSourceOptions, deliveries: Deliveries
    ) -> None:
        self._name = name
        self._broker = broker
        self._ledger = broker.ledger
        self._events = events
        self._max_bytes = options.prefetch_bytes
        self._deliveries = deliveries
        self._stack = AsyncExitStack()
        self._connection: Connection | None = None
        self._unsettled: deque[_Unsettled] = deque()
        """One for each batch that was returned and is not settled."""
        self._again = False
        """Whether more waits, although the last batch said no so that it is committed before the next one is made."""

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, name: str, broker: Broker, events: MessageEvents, options: QueueSourceOptions, deliveries: Deliveries
    ) -> AsyncIterator["QueueSource"]:
        """Connect for as long as the context lasts. Raises what `Broker.connected` does."""
        source = cls(name, broker, events, options, deliveries)
        try:
            await source._connected()
            yield source
        finally:
            await source._disconnect()

    async def poll(self, limit: int) -> Batch:
        """Return the events of what waits; see `Source`."""
        connection = await self._connected()
        try:
            received = await connection.receive(self._deliveries.limit(limit), self._max_bytes)
            batch, repeats = self._batch(connection, received)
            if repeats:
                await connection.acknowledge(repeats)
        except Unavailable:
            await self._disconnect()
            raise
        return batch

    async def settle(self, _batch: Batch, /) -> None:
        """Acknowledge a committed batch; a message whose acknowledgement fails is delivered again, and dropped."""
        settled = self._unsettled.popleft()
        self._deliveries.note_settled(settled.messages)
        if settled.messages and settled.connection is self._connection:
            await settled.connection.acknowledge(settled.messages)

    async def wait_for_change(self) -> None:
        """Return when a message may be waiting."""
        if self._connection is not None and not self._again:
            await self._connection.wait()

    def _batch(self, connection: Connection, received: Received) -> tuple[Batch, list[Message]]:
        """Return the batch of what was received, and the messages that can be acknowledged at once."""
        taken = list(received.messages)
        batch = Batch(waiting=received.waiting, losses=tuple(received.losses), rows=len(taken))
        self._events.begin_batch()
        for message in taken:
            if self._ledger.published(message):
                self._deliveries.note_repeat(message)
                batch.skipped += 1
            else:
                self._add(message, batch)
                self._ledger.add(message)
        batch.checkpoint = self._ledger.take_checkpoint()
        self._again = received.more and self._deliveries.alone
        batch.more = received.more and not self._again
        if batch:
            self._unsettled.append(_Unsettled(connection, taken))
        elif taken and self._unsettled:
            # All of them repeat messages of which some may not be committed yet.
            newest = self._unsettled[-1]
            if newest.connection is connection:
                newest.messages += taken
            else:  # what an older connection delivered can be acknowledged no more
                self._unsettled[-1] = _Unsettled(connection, taken)
        else:
            return batch, taken
        return batch, []

    def _add(self, message: Message, batch: Batch) -> None:
        reason = self._deliveries.begin(message)
        try:
            batch.records.append(self._events.event(message, refused=reason))
        except Malformed as exc:
            batch.rejects.append(self._events.reject(message, str(exc), attempts=message.deliveries))
        except Exception as exc:
            self._deliveries.note_failed(message, f"{type(exc).__name__}: {exc}")
            raise
        self._deliveries.note_processed(message)

    async def _connected(self) -> Connection:
        if self._connection is None:
            async with AsyncExitStack() as stack:
                with settings_errors(self._name):
                    connection = await stack.enter_async_context(self._broker.connected())
                self._stack = stack.pop_all()
                self._connection = connection
            self._deliveries.begin_connection()
        return self._connection

    async def _disconnect(self) -> None:
        self._connection = None
        await self._stack.aclose()


@contextmanager
def settings_errors(name: str) -> Iterator[None]:
    """Prefix every settings error of a source with the place of its settings."""
    place = f"system.sources.{name}"
    try:
        yield
    except SettingsError as exc:
        # An error of the checkpoint has no setting to name.
        raise SettingsError(f"{place}{': ' if str(exc).startswith('the ') else '.'}{exc}") from exc
