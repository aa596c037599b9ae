"""Pulls messages of a JetStream consumer.

A pull request asks for a number of messages and of bytes, and stays open for some seconds. Its messages come in order,
each with its place in the order of deliveries: if one is missing there, another process pulls from this consumer.
Source: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-37.md and ADR-13.
"""

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Literal

from services.system_api.sources.queue.message import Message, Received
from services.system_api.sources.queue.nats.client import (
    Client,
    ConsumerInfo,
    JetStreamContext,
    Msg,
    nats_errors,
)
from services.system_api.sources.queue.nats.inspection import removed
from services.system_api.sources.queue.nats.messages import Delivery, delivery_of, message_of
from services.system_api.sources.queue.nats.options import NatsSourceOptions
from services.system_api.sources.queue.nats.places import NatsPlaces
from services.system_api.sources.queue.nats.recovery import Recovery
from services.system_api.sources.queue.positions import Positions
from services.system_api.sources.source import Checkpoint, Loss
from shared.errors import Unavailable

_EXPIRES = 4.0
"""Seconds that a pull request stays open: less than a lease, so that the request of a paused replica does not get what
its successor should."""
_ARRIVAL = 1.0
"""Seconds in which messages that the server has must arrive."""
_COLLECTION = 5.0
"""Seconds in which everything must come that is delivered again."""
_LOOK_INTERVAL = 0.5
"""Seconds between two looks at what is acknowledged, while that matters."""
_ACKNOWLEDGEMENT = "$JS.ACK."
_HEARTBEAT = "100"
_TOO_LARGE = "Message Size Exceeds MaxBytes"
_ENDS_PULL = {"404", "408", "409"}
"""Statuses: no messages, expired, and several, which the description tells."""
_ENDS_CONSUMER = ("Consumer Deleted", "Consumer is push based")


class NatsConnection:
    """A `Connection` to a stream."""

    def __init__(
        self,
        client: Client,
        jetstream: JetStreamContext,
        consumer: ConsumerInfo,
        options: NatsSourceOptions,
        positions: Positions[int],
        recovery: Recovery | None,
    ) -> None:
        """`recovery` is that of the consumer, None where that is not our own."""
        self._client = client
        self._recovery = recovery
        self._jetstream = jetstream
        self._options = options
        self._positions = positions
        self._mark = positions.of()
        self._consumer = consumer.name
        self._max_deliver = consumer.config.max_deliver or -1
        self._unsure_until = _unsure_until(consumer, self._mark.mark)
        """While set, what earlier connections got up to this sequence may still be delivered, behind newer messages."""
        positions.gaps = self._unsure_until is not None
        if not positions.gaps:
            self._mark.raise_mark(None)
        self._expected = (consumer.num_ack_pending or 0) if positions.gaps else 0
        """How many messages that an earlier connection got are still to be delivered again, in any order."""
        self._look_at = 0.0
        self._inbox = client.new_inbox()
        self._next_pull = f"$JS.API.CONSUMER.MSG.NEXT.{options.stream}.{consumer.name}"
        self._pulls = 0
        self._wanted = 0
        """Messages that the open pull request may still get."""
        self._any_size = False
        """Whether the next message is larger than the bytes of a pull request."""
        self._waiting: deque[tuple[Msg, Delivery]] = deque()
        self._delivered = consumer.delivered.consumer_seq if consumer.delivered else 0
        """Place of the last delivery in the order of deliveries."""
        self._behind = consumer.num_pending or 0
        """Messages that the consumer has not delivered yet, as of the last delivery."""
        self._last: int | None = None
        """Sequence of the last message that was taken."""
        self.arrived = asyncio.Event()
        self._problem: str | None = None

    async def open(self) -> None:
        """Subscribe to the deliveries."""
        with nats_errors(self._options, self._client):
            await self._client.subscribe(f"{self._inbox}.*", cb=self._received)

    async def receive(self, limit: int, max_bytes: int) -> Received:
        """Return what waits; see `Connection`."""
        self._check()
        if self._unsure_until is not None:
            await self._follow_floor(self._unsure_until)
        if self._mark.full:
            return Received(waiting=("messages that another process has not acknowledged",))
        if self._expected and limit > 1:
            await self._collect(limit, max_bytes)
        if not self._wanted:
            await self._pull(limit, max_bytes)
        if not self._waiting and self._missing:
            await self._arrival(_ARRIVAL)
        self._check()
        taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        if not self._waiting:
            self.arrived.clear()
        if self._expected and taken and taken[0][1].deliveries == 1:
            self._note_uncollected()
        if taken:
            self._positions.losses.extend(await self._removed_unread(taken))
        prefix = self._mark.prefix
        waiting = (f"{self._missing} messages wait in the stream",) if self._missing and not taken else ()
        more = bool(taken) and (bool(self._waiting) or self._missing > 0)
        return Received([message_of(*each, prefix, self._max_deliver) for each in taken], more=more, waiting=waiting)

    @property
    def _missing(self) -> int:
        """How many messages the server still has for us."""
        return self._behind + self._expected

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Acknowledge; see `Connection`."""
        self._check()
        with nats_errors(self._options, self._client):
            for message in messages:
                await self._client.publish(str(message.token), b"+ACK")

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the checkpoint of a place; see `Rewinding`."""
        return await NatsPlaces(self._client, self._jetstream, self._options, self._positions).checkpoint_at(place)

    async def wait(self) -> None:
        """Return when a message was delivered; see `Connection`."""
        with suppress(Unavailable):
            while not self._waiting:
                self._check()
                if not self._wanted:
                    await self._pull(self._options.batch, self._options.prefetch_bytes)
                await self._arrival(None)

    def _check(self) -> None:
        if self._problem is not None:
            raise Unavailable(f"{self._options.in_words}: {self._problem}")
        if self._client.is_closed:
            self.arrived.set()
            with nats_errors(self._options):
                raise self._client.last_error or ConnectionError("the connection was closed")

    async def _collect(self, limit: int, max_bytes: int) -> None:
        """Wait for what is delivered again, and put it in order before anything newer."""
        deadline = asyncio.get_running_loop().time() + _COLLECTION
        while self._expected and asyncio.get_running_loop().time() < deadline:
            if not self._wanted:
                await self._pull(max(limit, self._expected), max_bytes)
            await self._arrival(_ARRIVAL)
            self._check()
            if sum(len(msg.data) for msg, _ in self._waiting) > max_bytes:
                break
        else:
            if self._expected:
                self._note_uncollected()
        self._waiting = deque(sorted(self._waiting, key=lambda each: each[1].sequence))
        self._expected = 0

    def _note_uncollected(self) -> None:
        """Raise `Unavailable` if a new connection may get first what an earlier one got."""
        expected, self._expected = self._expected, 0
        if self._recovery is not None and self._recovery.again():
            raise Unavailable(
                f"{self._options.in_words}: {expected} messages that were delivered before have not come again; asking"
                " for them again, to read them in order"
            )

    async def _follow_floor(self, until: int) -> None:
        """Move the mark up to where everything is acknowledged; from `until` on, messages come in order."""
        now = asyncio.get_running_loop().time()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_INTERVAL
        with nats_errors(self._options, self._client):
            consumer = await self._jetstream.consumer_info(self._options.stream, self._consumer)
        floor = consumer.ack_floor.stream_seq if consumer.ack_floor else 0
        if floor < until:
            self._mark.raise_mark(floor)
            return
        self._mark.raise_mark(None)
        self._unsure_until, self._positions.gaps = None, False

    async def _arrival(self, timeout: float | None) -> None:
        self.arrived.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self.arrived.wait()

    async def _pull(self, limit: int, max_bytes: int) -> None:
        request: dict[str, int] = {"batch": limit, "expires": int(_EXPIRES * 1e9)}
        if self._any_size:
            request["batch"] = 1
        else:
            request["max_bytes"] = max_bytes
        self._any_size = False
        self._pulls += 1
        self._wanted = request["batch"]
        with nats_errors(self._options, self._client):
            await self._client.publish(
                self._next_pull, json.dumps(request).encode(), reply=f"{self._inbox}.{self._pulls}"
            )

    async def _received(self, msg: Msg) -> None:
        """Take a message of a pull request, or the status that ends it."""
        # A sender may set the headers of a status as well: what is from the stream has a subject to acknowledge it.
        if not msg.reply.startswith(_ACKNOWLEDGEMENT):
            headers = msg.headers or {}
            self._note_status(headers.get("Status", ""), headers.get("Description", ""), msg.subject)
            return
        delivery = delivery_of(msg.reply)
        if delivery.consumer_sequence != self._delivered + 1:
            self._problem = "another process pulls from the same consumer; its messages are delivered again"
        self._delivered = delivery.consumer_sequence
        self._behind = delivery.pending
        if delivery.deliveries > 1 and self._expected:
            self._expected -= 1
            if self._recovery is not None and not self._expected:
                self._recovery.succeeded()
        self._wanted = max(0, self._wanted - 1)
        self._waiting.append((msg, delivery))
        self.arrived.set()

    def _note_status(self, status: str, description: str, subject: str) -> None:
        if status == _HEARTBEAT or not subject.endswith(f".{self._pulls}"):
            return
        if status not in _ENDS_PULL or description.startswith(_ENDS_CONSUMER):
            self._problem = f"the pull request failed: {status} {description}"
        self._any_size = description == _TOO_LARGE
        self._wanted = 0
        self.arrived.set()

    async def _removed_unread(self, taken: list[tuple[Msg, Delivery]]) -> list[Loss]:
        """Return what the limits of the stream removed before it was read, if sequences are missing.

        With a filter sequences are always missing: then only a new connection looks.
        """
        losses: list[Loss] = []
        if self._options.filter:
            return losses
        for _, delivery in taken:
            last, self._last = self._last, delivery.sequence
            if last is not None and delivery.sequence > last + 1 and not losses:
                with nats_errors(self._options, self._client):
                    stream = await self._jetstream.stream_info(self._options.stream)
                losses += removed(stream, last, delivery.sequence, self._options)
        return losses


def _unsure_until(consumer: ConsumerInfo, published: int | None) -> int | None:
    """Return the last sequence that earlier connections got, if some of them may not be published."""
    delivered = consumer.delivered.stream_seq if consumer.delivered else 0
    return delivered if consumer.num_ack_pending and delivered > (published or 0) else None
