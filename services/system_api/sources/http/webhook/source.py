"""The inbox as a source: what is stored is read in the order of arrival, published, and removed.

    read      what waits behind the checkpoint
    items     events and rejects, several of one delivery where it is a list
    settle    the transaction is committed: remove the deliveries of which nothing is left to publish

A crash before a delivery is removed leaves it in the inbox; the checkpoint tells that it is published.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Literal

import msgspec

from services.system_api.sources.http.received.items import Item, Received, ReceivedItems
from services.system_api.sources.http.webhook.inbox.delivery import Fill, Limits, Waiting
from services.system_api.sources.http.webhook.inbox.protocol import Inbox
from services.system_api.sources.http.webhook.options import WebhookSourceOptions
from services.system_api.sources.source import Batch, Checkpoint, EventBuilder
from shared.errors import Malformed, SettingsError, Unavailable
from shared.runtime import failpoints

logger = logging.getLogger(__name__)

_VERSION = 1
_MAX_BYTES = 4 * 1_048_576
"""Bytes of the bodies that one poll reads, unless the first alone is larger."""


class _Saved(msgspec.Struct, frozen=True):
    """The checkpoint."""

    v: int
    epoch: str
    position: int
    """Everything up to this delivery is published."""
    items: int
    """How many items of the next delivery are published."""


class WebhookSource:
    """A `Source` of one sender; `opened` makes it."""

    def __init__(
        self,
        name: str,
        options: WebhookSourceOptions,
        inbox: Inbox,
        builder: EventBuilder,
        executor: ThreadPoolExecutor,
        changed: asyncio.Event,
    ) -> None:
        self._name = name
        self._options = options
        self._inbox = inbox
        self._builder = builder
        self._executor = executor
        self._changed = changed
        self._makers: list[ReceivedItems] = []
        """The one maker of items. Only the thread touches it: an expression belongs to the thread that compiled it."""
        self._limits = Limits(options.inbox_limit, options.inbox_bytes)
        self._epoch = ""
        self._read = 0
        """The position of the last delivery that was read."""
        self._done = 0
        """The position up to which everything is in a batch."""
        self._items = 0
        """How many items of the next delivery are in a batch."""
        self._held: deque[Item] = deque()
        self._unsettled: deque[int] = deque()
        """For each batch that was returned and is not settled, the position up to which it is complete."""
        self._removable, self._removed = 0, 0

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, name: str, options: WebhookSourceOptions, inbox: Inbox, builder: EventBuilder, checkpoint: Checkpoint
    ) -> AsyncIterator["WebhookSource"]:
        """Open at a checkpoint.

        Raises:
            Unavailable: the database does not answer.
            SettingsError: the checkpoint is of another kind of source.
        """
        saved = _loaded(name, checkpoint)
        executor = ThreadPoolExecutor(1, thread_name_prefix=f"deliveries of source {name}")
        with inbox.watch(name) as changed:
            source = cls(name, options, inbox, builder, executor, changed)
            try:
                await source._resume(saved, await inbox.fill(name))
                yield source
            finally:
                executor.submit(source._makers.clear)
                executor.shutdown(wait=False)

    async def poll(self, limit: int) -> Batch:
        """Return the events of what waits; see `Source`."""
        self._changed.clear()
        fill = await self._inbox.fill(self._name)
        waits = False
        if not self._held:
            found = await self._inbox.read(self._name, self._read, limit, _MAX_BYTES)
            if found:
                items = await asyncio.get_running_loop().run_in_executor(self._executor, self._made, found)
                self._held.extend(items)
                self._read = found[-1].position
            waits = self._read < fill.position and bool(found)
        with suppress(Unavailable):  # what could not be removed before
            await self._remove()
        # Nothing is awaited from here on: a failure before this has changed no state that matters.
        batch = self._filled(limit)
        batch.more = bool(self._held) or waits
        if self._limits.full(fill.rows, fill.bytes):
            batch.problems = (f"the inbox is full ({fill.rows} deliveries, {fill.bytes} bytes): senders get 503",)
        return batch

    async def settle(self, _batch: Batch, /) -> None:
        """Remove what a committed batch has completed."""
        self._removable = max(self._removable, self._unsettled.popleft())
        failpoints.reach("webhook.before-remove")
        await self._remove()

    async def wait_for_change(self) -> None:
        """Return when something may have been stored."""
        await self._changed.wait()

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the checkpoint of a place; see `Rewinding`. What is published is in the inbox no more."""
        if place == "beginning":
            return {}
        if place == "end":
            fill = await self._inbox.fill(self._name)
            return {"": _encode(_Saved(_VERSION, fill.epoch, fill.position, 0))}
        raise Malformed("a webhook source has no place for a time: what it has published is in its inbox no more")

    async def _resume(self, saved: _Saved | None, fill: Fill) -> None:
        self._epoch = fill.epoch
        if saved is None:
            return
        if saved.epoch != fill.epoch or saved.position > fill.position:
            # Of another database, or of one that was restored: what waits here was never published from here.
            fields = {"component": "source", "source": self._name, "position": saved.position, "found": fill.position}
            logger.warning("webhook inbox is not the one of the checkpoint; reading all of it", extra=fields)
            return
        self._read = self._done = saved.position
        self._items = saved.items
        self._removable = saved.position
        await self._remove()

    def _made(self, found: Sequence[Waiting]) -> list[Item]:
        if not self._makers:
            self._makers.append(ReceivedItems(self._builder, self._options))
        maker = self._makers[0]
        maker.begin_batch()
        items = [item for each in found for item in maker.of(self._received(each))]
        first = self._done + 1
        return [item for item in items if item.position != first or item.number >= self._items]

    def _received(self, waiting: Waiting) -> Received:
        delivery, position = waiting.delivery, waiting.position
        key = f"{self._epoch}.{position}" if delivery.id is None else delivery.id
        return Received(position, key, delivery.body, waiting.received_at, delivery.content_type, delivery.headers)

    def _filled(self, limit: int) -> Batch:
        batch = Batch(rows=0)
        taken = 0
        while self._held and taken < limit:
            item = self._held.popleft()
            taken += 1
            if item.outgoing is not None:
                batch.records.append(item.outgoing)
            elif item.reject is not None:
                batch.rejects.append(item.reject)
            else:
                batch.skipped += 1
            self._done, self._items = (item.position, 0) if item.last else (item.position - 1, item.number + 1)
        batch.rows = taken
        if taken:
            batch.checkpoint = {"": _encode(_Saved(_VERSION, self._epoch, self._done, self._items))}
            self._unsettled.append(self._done)
        return batch

    async def _remove(self) -> None:
        upto = self._removable
        if upto > self._removed:
            await self._inbox.remove(self._name, upto)
            self._removed = upto


_encode = msgspec.json.Encoder().encode


def _loaded(name: str, checkpoint: Checkpoint) -> _Saved | None:
    if not checkpoint:
        return None
    try:
        saved = msgspec.json.decode(checkpoint[""], type=_Saved)
    except (KeyError, msgspec.MsgspecError) as exc:
        raise SettingsError(
            f"system.sources.{name}: the checkpoint is not that of a webhook source: give the source another name, or"
            " set its previous kind again"
        ) from exc
    if saved.v != _VERSION:
        raise SettingsError(f"system.sources.{name}: the checkpoint is of a newer release (version {saved.v})")
    return saved
