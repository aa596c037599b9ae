"""What the poller asks of a source, and how a source makes its events."""

import itertools
import random
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Protocol, runtime_checkable

from pydantic import AfterValidator, Field

from shared.bus.protocol import Headers, Outgoing
from shared.clock import Clock, rfc3339
from shared.dead_letter import Reject
from shared.errors import Malformed
from shared.event import CHANNEL_LIMIT, CHANNEL_PATTERN, TRAIL, Channel, Envelope, json_string, wrap
from shared.event import channel as checked
from shared.retry import RetryOptions
from shared.settings import Options

Checkpoint = Mapping[str, bytes]
"""A saved place: small JSON values by part. `""` is the place of the source itself; a source of many files keeps one
part a file, so that a batch saves only what moved."""


def _channel(name: Channel) -> Channel:
    try:
        return checked(name)
    except Malformed as exc:
        raise ValueError(str(exc)) from exc


ChannelName = Annotated[
    Channel,
    AfterValidator(_channel),
    Field(json_schema_extra={"pattern": CHANNEL_PATTERN, "maxLength": CHANNEL_LIMIT}),
]
"""Dotted words."""


class SourceOptions(Options):
    """What every kind of source is told."""

    type: str = Field(min_length=1, max_length=200)
    """The CloudEvents type of its events, e.g. `order.updated`."""

    channel: ChannelName | None = None
    """Goes straight to the publish topic, under this channel; none sends it through the process layer."""

    interval: float = Field(default=1.0, gt=0)
    """Seconds between polls while nothing wakes the source earlier."""

    batch: int = Field(default=1000, ge=1, le=100_000)
    """Events in one transaction at most."""

    bound: float = Field(default=60.0, gt=0)
    """Seconds one poll may take; a source that takes longer has stalled, and is built anew."""

    retry: RetryOptions = RetryOptions()
    """How hard to try before the source counts as down; it is probed for ever after that."""


@dataclass(slots=True)
class Batch:
    """What one poll found, and the place to save with it."""

    records: list[Outgoing] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    checkpoint: dict[str, bytes | None] = field(default_factory=dict)
    """The parts that moved; None forgets a part."""
    more: bool = False
    """Whether more is known to wait, so that the next poll need not."""
    trouble: tuple[str, ...] = ()
    """What is wrong with parts of the source while the rest goes on: a file that cannot be read, say. Said again with
    every batch until it is over."""

    def __bool__(self) -> bool:
        """Whether there is anything to publish or to save."""
        return bool(self.records or self.rejects or self.checkpoint)


class Source(Protocol):
    """An upstream system that is open for reading, from a checkpoint onwards."""

    async def poll(self, limit: int) -> Batch:
        """Return what comes next, oldest first, at most about `limit` events; an empty batch if nothing is new.

        Each call goes on where the last one ended, whether or not that batch is settled yet: the poller fills one
        transaction while another commits. After any failure the poller closes the source and opens it again from
        the last checkpoint that was committed, so expect to be asked for the same input twice, by another instance.

        Raises:
            Unavailable: worth retrying: the next poll of this very instance must give what this one would have.
        """
        ...

    async def changed(self) -> None:
        """Return when there may be something new; a source that cannot know waits for ever.

        The poller bounds the wait by the interval, so a missed wake-up costs time and never an event.
        """
        ...


@runtime_checkable
class Settling(Protocol):
    """Sources that do something once a batch is safe: archive or delete a file, acknowledge to a queue."""

    async def settle(self, batch: Batch) -> None:
        """The transaction with this batch and its checkpoint is visible. Called in the order of the polls.

        Raises:
            Unavailable: logged and tried again by the source itself on a later poll; the events are safe already.
        """
        ...


class Opening(Protocol):
    """How the poller opens a source."""

    def __call__(self, checkpoint: Checkpoint) -> AbstractAsyncContextManager[Source]:
        """Open at a saved place; an empty mapping is the very beginning.

        Raises (on entering):
            Unavailable: the upstream does not answer.
            SettingsError: the settings cannot work, or the checkpoint is of another kind of source.
        """
        ...


_outgoing: Callable[[tuple[bytes, bytes | None, Headers]], Outgoing] = partial(tuple.__new__, Outgoing)
"""Makes a record without the constructor, which is a function of Python's: a tenth of an event's cost."""

NumberedEvent = Callable[[int, str, bytes, bytes | None], Outgoing]
"""Takes the number, and the subject, the data and the time as `Stamp.event` does."""


class Stamp:
    """Makes events of one source: encodes once what they share, and splices the rest."""

    def __init__(self, name: str, type_: str, channel: Channel | None, clock: Clock, dice: random.Random) -> None:
        self.name = name
        self._head = Envelope(f"/sources/{name}", type_, channel).head()
        self._key = None if channel is None else channel.encode()
        self._clock = clock
        self._dice = dice
        self.begin()

    def begin(self) -> None:
        """Start a batch: its events share one reading time and one trace, each with a span of its own."""
        now = self._clock.time()
        self._read = b"%b %d %b:" % (self.name.encode(), int(now * 1000), self.name.encode())
        self._trace = b"00-%032x-" % (self._dice.getrandbits(128) or 1)
        self._spans = itertools.count(self._dice.getrandbits(63) or 1)
        self._now = rfc3339(now).encode()
        self._template = self._shared(b"%b")

    def event(self, position: str, subject: str, data: bytes, time: bytes | None = None) -> Outgoing:
        """Make the event of one change.

        `position` is where the change lies, the same whenever it is read again, and becomes the id behind the
        source's name; `subject` is the entity's key; `data` is one valid JSON value; `time` is when it happened
        upstream (RFC 3339), else the time of reading.
        """
        identity, entity, span = json_string(f"{self.name}:{position}"), json_string(subject), next(self._spans)
        if time is None:
            value = self._template % (identity, entity, span, data)
        else:
            value = wrap(self._head, identity, entity, time, b"%b%016x-01" % (self._trace, span), data)
        return Outgoing(self._key or subject.encode(), value, ((TRAIL, self._read + position.encode()),))

    def numbered(self, place: str) -> NumberedEvent:
        """Return what makes events of this batch whose positions are `place`, a colon and a number.

        It does what `event` does at two thirds of the cost, for what is read by the thousand.
        """
        identity = json_string(f"{self.name}:{place}:")[:-1].replace(b"%", b"%%")
        identity_of = identity + b'%d"'
        template, trail = self._shared(identity_of), self._read + place.encode() + b":"
        head, key, trace, spans = self._head, self._key, self._trace, self._spans

        def event(number: int, subject: str, data: bytes, time: bytes | None) -> Outgoing:
            entity = json_string(subject)
            if time is None:
                value = template % (number, entity, next(spans), data)
            else:
                span = b"%b%016x-01" % (trace, next(spans))
                value = wrap(head, identity_of % number, entity, time, span, data)
            return _outgoing((key or subject.encode(), value, ((TRAIL, trail + b"%d" % number),)))

        return event

    def _shared(self, identity: bytes) -> bytes:
        """Splice once what the events of a batch share, around the places of what differs."""
        head = self._head.replace(b"%", b"%%")
        return wrap(head, identity, b"%b", self._now, self._trace + b"%016x-01", b"%b")
