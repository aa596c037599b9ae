"""The contract between the poller and a source, and how a source builds its events."""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Protocol, runtime_checkable

import msgspec
from pydantic import Field

from shared.bus.protocol import Headers, Outgoing
from shared.errors import Malformed
from shared.events import strict_json
from shared.events.attributes import check_attribute
from shared.events.dead_letter import Reject
from shared.events.event import (
    CHANNEL_LIMIT,
    CHANNEL_PATTERN,
    Attributes,
    Channel,
    Envelope,
    encode,
    json_string,
    text_of,
    wrap,
)
from shared.events.event import channel as checked
from shared.events.headers import CONTENT_TYPE, PROVENANCE
from shared.runtime.clock import Clock, rfc3339
from shared.runtime.retry import RetryOptions
from shared.runtime.trace import current_span
from shared.settings import Checked, EventType, Options

Checkpoint = Mapping[str, bytes]
"""A saved position: small JSON values by part. `""` is the part of the source itself. A source of many files has one
part a file, so that a batch saves only the parts that moved."""


ChannelName = Annotated[Channel, Checked(checked, CHANNEL_PATTERN, CHANNEL_LIMIT)]
"""Dotted words."""


class SourceOptions(Options):
    """The settings that every kind of source has."""

    type: EventType = Field(min_length=1, max_length=200)
    """The CloudEvents `type` of its events, such as `order.updated`. Those that begin with `trelay.` are reserved."""

    channel: ChannelName | None = None
    """The channel of its events, which then go directly to subscribers. Without a channel they go through the pipelines
    of the process layer."""

    interval: float = Field(default=1.0, gt=0)
    """Seconds between polls; a source that is notified of a change is polled earlier."""

    batch: int = Field(default=1000, ge=1, le=100_000)
    """Maximum number of events in one transaction."""

    poll_timeout: float = Field(default=60.0, gt=0)
    """Seconds that one poll may take. A source that takes longer has stalled and is restarted."""

    retry: RetryOptions = RetryOptions()
    """How to retry an upstream that is unavailable. Once the policy is exhausted, the source is reported as down, and
    probed every `probe_interval` seconds."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that left the upstream before it was read, and cannot be read any more."""

    text: str
    """What it was, with its place, and why it could not be read."""
    size: int = 0
    """The bytes that are known to be lost; 0 if that is not known."""
    count: int = 1
    """The number of files or other parts that the text names together."""


@dataclass(slots=True)
class Batch:
    """What one poll found, and the checkpoint to save with it."""

    records: list[Outgoing] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    checkpoint: dict[str, bytes | None] = field(default_factory=dict)
    """The parts that moved; None removes a part."""
    begun: dict[str, bytes] = field(default_factory=dict)
    """Parts that identify what this batch has begun to read, as they were before: a file, which has events from now on.
    Where a crash may come between the delivery of the events and the checkpoint, these parts are saved before both, so
    that the events come again with the same ids."""
    more: bool = False
    """Whether more is known to be waiting, so that the next poll follows at once."""
    whole: bool = False
    """Whether, unless `more` or `waiting` says otherwise, the polls since the last batch without `more` have seen all
    that the upstream had when the first of them began. False where that is not known, as of messages on their way."""
    problems: tuple[str, ...] = ()
    """What is wrong with parts of the source (a file, for example); repeated with every batch until it is over."""
    waiting: tuple[str, ...] = ()
    """What was seen upstream and cannot be published yet, each with the reason, repeated with every batch until it is
    over. While something waits, the source is not caught up."""
    losses: tuple[Loss, ...] = ()
    """What was found to be lost since the last batch: each loss is in one batch."""
    taken_early: tuple[str, ...] = ()
    """What was found since the last batch to have been read before it was complete, by place; it is read again."""
    rows: int | None = None
    """How many rows, lines or messages the reader got from the upstream for this batch, counted where they arrive. Each
    must be in a record, a reject or `skipped`, or `trelay_source_unaccounted_rows` is not 0. None: not counted."""
    slot_lag: int | None = None
    """Bytes of its log that a database keeps for this source. None: it keeps none, or that is not known."""
    skipped: int = 0
    """Those of `rows` that are no event on purpose: published before, blank, or a header."""
    redelivered: int = 0
    """Those of `rows` that the upstream had delivered before, by its own count."""
    parked: int = 0
    """Those of `rejects` that were delivered too often."""

    def __bool__(self) -> bool:
        """Whether there is anything to publish or to save."""
        return bool(self.records or self.rejects or self.checkpoint)


class Source(Protocol):
    """An upstream system that is open for reading from a checkpoint onwards."""

    async def poll(self, limit: int) -> Batch:
        """Return what comes next, oldest first, at most about `limit` events; an empty batch if nothing is new.

        Each call continues where the last one ended, whether or not that batch is settled yet: the poller fills one
        transaction while another one commits. After any failure the poller closes the source and opens it again at
        the last committed checkpoint, so the same input may be read twice, by different instances.

        Raises:
            Unavailable: worth retrying: the next poll of this instance must return what this one would have returned.
        """
        ...

    async def wait_for_change(self) -> None:
        """Return when there may be something new; a source without notifications never returns.

        The poller bounds the wait by the interval, so a missed notification costs time and never an event.
        """
        ...


@runtime_checkable
class Settling(Protocol):
    """Sources that act once a batch is committed: archive or delete a file, acknowledge to a queue."""

    async def settle(self, batch: Batch, /) -> None:
        """Act on a batch whose transaction, checkpoint included, is committed. Called in the order of the polls.

        Raises:
            Unavailable: it is logged; the source repeats the action on a later poll. The events are already committed.
        """
        ...


class SourceOpener(Protocol):
    """Opens a source for the poller."""

    def __call__(self, checkpoint: Checkpoint) -> AbstractAsyncContextManager[Source]:
        """Open at a saved position; an empty mapping is the beginning.

        Raises (on entering):
            Unavailable: the upstream is unavailable.
            SettingsError: the settings cannot work, or the checkpoint is of another kind of source.
        """
        ...


_outgoing: Callable[[tuple[bytes, bytes | None, Headers]], Outgoing] = partial(tuple.__new__, Outgoing)
"""Makes a record without its constructor, which is a Python function: a tenth of the cost of an event."""

NumberedEvent = Callable[[int, str, bytes, bytes | None], Outgoing]
"""Takes the number, then subject, data and time as `EventBuilder.event` does."""


class EventBuilder:
    """Builds the events of one source: encodes once what they share, and splices in the rest."""

    def __init__(self, name: str, type_: str, channel: Channel | None, clock: Clock, rng: random.Random) -> None:
        self.name = name
        self._head = Envelope(f"/sources/{name}", type_, channel).head()
        self._key = None if channel is None else channel.encode()
        self._shared_attributes = {"specversion": "1.0", "source": f"/sources/{name}", "type": type_}
        if channel is not None:
            self._shared_attributes["channel"] = channel
        self._clock = clock
        self._rng = rng
        self.begin_batch()

    def begin_batch(self) -> None:
        """Start a batch: its events share one time of reading and one trace.

        Within a span, that is the parent of all of them. Otherwise each has a span of its own in a new trace.
        """
        now = self._clock.time()
        self._read = b"%b %d %b:" % (self.name.encode(), int(now * 1000), self.name.encode())
        self._spans: Iterator[int]
        if (span := current_span()) is None:
            self._traceparent = b"00-%032x-%%016x-01" % (self._rng.getrandbits(128) or 1)
            self._spans = itertools.count(self._rng.getrandbits(63) or 1)
        else:
            self._traceparent = b"00-%b-%%016x-%b" % (span.trace_id.encode(), b"01" if span.sampled else b"00")
            self._spans = itertools.repeat(int(span.span_id, 16))
        self._now = rfc3339(now).encode()
        self._template, self._timed = self._shared(b"%b"), self._shared(b"%b", b"%b")

    def event(self, position: str, subject: str, data: bytes, time: bytes | None = None) -> Outgoing:
        """Build the event of one change.

        `position` identifies the change and is the same whenever it is read again: with the source's name it becomes
        the event's id. `subject` is the entity's key; `data` is one valid JSON value; `time` is when the change
        happened upstream (RFC 3339), by default the time of reading.
        """
        identity, entity, span = json_string(f"{self.name}:{position}"), json_string(subject), next(self._spans)
        if time is None:
            value = self._template % (identity, entity, span, data)
        else:
            value = self._timed % (identity, entity, time, span, data)
        provenance = self._read + position.encode()
        return _outgoing((self._key or subject.encode(), value, (CONTENT_TYPE, (PROVENANCE, provenance))))

    def checked(self, position: str, subject: str, data: bytes, time: str | None = None) -> Outgoing:
        """Build the event of one change as `event` does, of values that are not known to be valid.

        Raises:
            Malformed: names what readers would refuse: in the data, by the rule of `strict_json`, or an attribute.
        """
        strict_json.check(data)
        try:
            check_attribute("subject", json_string(subject))
        except UnicodeEncodeError as exc:
            raise Malformed(f"attribute 'subject': found {subject[:80]!r}; expected text without surrogates") from exc
        if time is None:
            return self.event(position, subject, data)
        check_attribute("time", json_string(time))
        return self.event(position, subject, data, time.encode())

    def add(self, batch: Batch, position: str, subject: str, data: bytes, time: str | None = None) -> None:
        """Add the event of one change to a batch, built as by `checked`; or its reject, if readers would refuse it."""
        try:
            batch.records.append(self.checked(position, subject, data, time))
        except Malformed as exc:
            place = f"{self.name}:{position}"
            batch.rejects.append(Reject(place, data, f"{position}: {exc}", "source", place))

    def complete(self, position: str, attributes: Attributes) -> Outgoing:
        """Build an event from attributes that are valid and hold a subject; those that are missing are added.

        `position` is as for `event`. For what `event` cannot build: data that is not JSON, and events that keep the
        attributes that they came with.
        """
        identity, span = f"{self.name}:{position}", next(self._spans)
        added = self._shared_attributes | {
            "id": identity,
            "time": self._now.decode(),
            "traceparent": (self._traceparent % span).decode(),
        }
        value = {name: msgspec.Raw(json_string(text)) for name, text in added.items()} | attributes
        subject = text_of(attributes, "subject") or ""
        return Outgoing(
            self._key or subject.encode(), encode(value), (CONTENT_TYPE, (PROVENANCE, self._read + position.encode()))
        )

    def numbered(self, prefix: str) -> NumberedEvent:
        """Return a function that builds events of this batch whose positions are `prefix`, a colon and a number.

        The events are those of `event`; no text is made of each position.
        """
        identity = json_string(f"{self.name}:{prefix}:")[:-1].replace(b"%", b"%%")
        template, timed = self._shared(identity + b'%b"'), self._shared(identity + b'%b"', b"%b")
        read, key, spans = self._read + prefix.encode() + b":", self._key, self._spans

        def event(number: int, subject: str, data: bytes, time: bytes | None) -> Outgoing:
            digits, entity = b"%d" % number, json_string(subject)
            if time is None:
                value = template % (digits, entity, next(spans), data)
            else:
                value = timed % (digits, entity, time, next(spans), data)
            return _outgoing((key or subject.encode(), value, (CONTENT_TYPE, (PROVENANCE, read + digits))))

        return event

    def _shared(self, identity: bytes, time: bytes | None = None) -> bytes:
        """Return the template of a batch's events: what they share, with `%b` in place of what differs."""
        head = self._head.replace(b"%", b"%%")
        return wrap(head, identity, b"%b", time or self._now, self._traceparent, b"%b")
