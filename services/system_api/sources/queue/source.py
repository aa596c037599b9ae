"""A queue or topic as a source: receives, publishes with the checkpoint, and acknowledges what is committed.

    receive       what waits in the broker; a lost connection is opened again by the next poll
    published?    a message that was published before is dropped, and acknowledged with the others
    suspect?      a message that may stop the process is processed by itself; see `deliveries`
    event         or a reject: a message that cannot be an event, or that was delivered too often
    settle        the transaction is committed: acknowledge

A message is acknowledged only after the transaction that holds its event and its place in the checkpoint.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.system_api.sources.queue.deliveries import Attempts
from services.system_api.sources.queue.events import MessageEvents
from services.system_api.sources.queue.inquiry import checkpoint_of
from services.system_api.sources.queue.message import Broker, Connection, Message
from services.system_api.sources.queue.options import QueueSourceOptions
from services.system_api.sources.source import Batch, Checkpoint, Loss
from shared.errors import Malformed, SettingsError, Unavailable
from shared.suspension.greenlets import suspendable

_NOT_READ = ("messages that are read once the checkpoint is saved",)
"""What waits behind a batch that must be committed before the next one is made."""


@dataclass(slots=True)
class _Unsettled:
    """The messages of one batch, and the connection that delivered them."""

    connection: Connection | None
    messages: list[Message]


class QueueSource:
    """A `Source` of one queue or topic; `opened` makes it."""

    def __init__(
        self, name: str, broker: Broker, events: MessageEvents, options: QueueSourceOptions, attempts: Attempts
    ) -> None:
        self._name = name
        self._broker = broker
        self._ledger = broker.ledger
        self._events = events
        self._max_bytes = options.prefetch_bytes
        self._attempts = attempts
        self._stack = AsyncExitStack()
        self._connection: Connection | None = None
        self._held: deque[Message] = deque()
        """Messages that were received and are not processed yet."""
        self._attempting: str | None = None
        """The place of the message whose attempt is saved."""
        self._unsettled: deque[_Unsettled] = deque()
        """One for each batch that was returned and is not settled."""
        self._more = False
        """Whether the broker has more than what was received."""
        self._again = False
        """Whether more waits, although the last batch said no so that it is committed before the next one is made."""

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, name: str, broker: Broker, events: MessageEvents, options: QueueSourceOptions, attempts: Attempts
    ) -> AsyncIterator["QueueSource"]:
        """Connect for as long as the context lasts. Raises what `Broker.connected` does."""
        source = cls(name, broker, events, options, attempts)
        try:
            await source._connected()
            yield source
        finally:
            await source._disconnect()

    async def poll(self, limit: int) -> Batch:
        """Return the events of what waits; see `Source`."""
        if (begun := self._attempts.begin()) is not None:
            self._unsettled.append(_Unsettled(None, []))
            self._again = True
            return Batch(checkpoint=begun, waiting=_NOT_READ)
        connection = await self._connected()
        batch = Batch(rows=0)
        try:
            if not self._held:
                received = await connection.receive(1 if self._attempts.careful else limit, self._max_bytes)
                batch.waiting = received.waiting
                self._attempts.outcomes.note_received(received.messages)
                self._held.extend(received.messages)
                self._more = received.more
            # An expression that is evaluated apart may take seconds.
            if repeats := await suspendable(self._fill(batch, limit, connection)):
                self._attempts.outcomes.note_settled(repeats)
                await connection.acknowledge(repeats)
        except Unavailable:
            await self._disconnect()
            raise
        # Last of all: what fails before leaves them to the next batch.
        batch.losses = tuple(self._ledger.losses)
        self._ledger.losses.clear()
        return batch

    async def settle(self, _batch: Batch, /) -> None:
        """Acknowledge a committed batch; a message whose acknowledgement fails is delivered again, and dropped."""
        settled = self._unsettled.popleft()
        self._attempts.outcomes.note_settled(settled.messages)
        if settled.messages and settled.connection is not None and settled.connection is self._connection:
            await settled.connection.acknowledge(settled.messages)

    async def wait_for_change(self) -> None:
        """Return when a message may be waiting."""
        if self._connection is not None and not self._again:
            await self._connection.wait()

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the checkpoint of a place; see `Rewinding`."""
        return await checkpoint_of(await self._connected(), place)

    async def _fill(self, batch: Batch, limit: int, connection: Connection) -> list[Message]:
        """Process what is held; return the messages that can be acknowledged at once."""
        taken: list[Message] = []
        self._events.begin_batch()
        self._again = False
        while self._held and len(taken) < limit and not self._again:
            message = self._held[0]
            if self._ledger.published(message):
                batch.skipped += 1
            elif not self._attempts.suspects(message):
                self._add(message, batch)
            elif batch.records or batch.rejects:
                break
            else:
                self._again = True
                if self._attempting != message.place:
                    self._attempting = message.place
                    batch.checkpoint = self._attempts.attempt(message)
                    break
                self._add(message, batch)
            taken.append(self._held.popleft())
        batch.rows = len(taken)
        batch.redelivered = sum(message.deliveries > 1 for message in taken)
        batch.more = not self._again and (bool(self._held) or self._more)
        if self._again:
            batch.waiting += _NOT_READ
        batch.checkpoint |= self._ledger.take_checkpoint() | self._attempts.take_checkpoint()
        return self._unsettle(batch, taken, connection)

    def _unsettle(self, batch: Batch, taken: list[Message], connection: Connection) -> list[Message]:
        """Note what to acknowledge once the batch is settled; return what can be acknowledged at once."""
        if batch:
            self._unsettled.append(_Unsettled(connection, taken))
            return []
        if not taken or not self._unsettled:
            return taken
        # All of them repeat messages of which some may not be committed yet.
        newest = self._unsettled[-1]
        if newest.connection is connection:
            newest.messages += taken
        else:  # what an older connection delivered can be acknowledged no more
            self._unsettled[-1] = _Unsettled(connection, taken)
        return []

    def _add(self, message: Message, batch: Batch) -> None:
        tries, refused = self._attempts.tries(message), self._attempts.refusal(message)
        try:
            batch.records.append(self._events.event(message, refused=refused))
        except Malformed as exc:
            batch.rejects.append(self._events.reject(message, str(exc), attempts=tries))
            batch.parked += refused is not None
        except Exception as exc:
            self._attempts.outcomes.note_failed(message, f"{type(exc).__name__}: {exc}")
            raise
        self._ledger.add(message)
        self._attempts.note_processed(message)

    async def _connected(self) -> Connection:
        if self._connection is None:
            async with AsyncExitStack() as stack:
                with settings_errors(self._name):
                    connection = await stack.enter_async_context(self._broker.connected())
                self._stack = stack.pop_all()
                self._connection = connection
            self._note_given_up()
        return self._connection

    def _note_given_up(self) -> None:
        """Note as lost what earlier connections got for the last time, and did not get to publish."""
        pending = {message.place for batch in self._unsettled for message in batch.messages}
        for message in self._attempts.outcomes.take_given_up(pending):
            if not self._ledger.published(message):
                text = f"{self._broker.name}, {message.place}: delivered {message.deliveries} times and not published;"
                self._ledger.losses.append(Loss(f"{text} the broker {message.final}"))

    async def _disconnect(self) -> None:
        self._connection = None
        self._held.clear()
        self._attempting = None
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
