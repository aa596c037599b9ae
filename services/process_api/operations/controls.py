"""What operators ask of pipelines, as this replica knows it: kept up to date from a compacted topic.

The topic is on the bus, so that a replica that processes anything knows what is paused.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from services.process_api.operations.requests import (
    NAME,
    Asked,
    Control,
    Reload,
    Rewind,
    control_key,
    encode,
    reload_key,
    rewind_key,
)
from services.process_api.operations.starts import Starts
from shared.bus.protocol import Bus, Outgoing, Record, TopicPartition, Transaction, Writer
from shared.errors import PositionLost, Unavailable
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

_WAIT = 10.0
_RETRY_INTERVAL = 1.0
_KNOWN_TIMEOUT = 5.0
"""Seconds that a request waits after a start until it is known what was asked before."""
_SEEN_TIMEOUT = 2.0
_RELOAD_INTERVAL = 2.0
"""Seconds between two looks whether a reload has added a pipeline whose rewind was asked before."""


class Request(NamedTuple):
    """A record of the topic."""

    key: bytes
    value: bytes


class RewindAsked(Exception):
    """A rewind has to be carried out in a partition: its run has to begin again."""


class Controls:
    """What is asked of all pipelines."""

    def __init__(self, topic: str, clock: Clock) -> None:
        self.topic = topic
        self.asked = Asked()
        self.paused: set[str] = set()
        """The names of the pipelines that are paused."""
        self._clock = clock
        self._known = asyncio.Event()
        self._changed = asyncio.Event()
        self._position: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether the topic was read for the first time."""
        return self._known.is_set()

    async def known(self) -> None:
        """Wait until the topic was read for the first time."""
        await self._known.wait()

    async def changed(self, timeout: float) -> None:
        """Return when something has changed, or after `timeout` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._changed.wait()

    async def follow(self, bus: Bus) -> None:
        """Keep up with the topic until cancelled. While the bus does not answer, what was asked last holds."""
        while True:
            try:
                if self._position is None:
                    self._position = await bus.replay(TopicPartition(self.topic, 0), None, self._take)
                    self._known.set()
                async with bus.reader(self.topic, {0: self._position}) as reader:
                    while True:
                        self._take(await reader.read(wait=_WAIT))
                        self._position = reader.positions[0]
            except PositionLost:
                self._position = None
            except Unavailable:
                await self._clock.sleep(_RETRY_INTERVAL)  # the bus reports that as its own problem

    async def fresh(self, bus: Bus) -> Asked:
        """Read the topic now: what is returned includes all that was asked before. Raises `Unavailable`.

        The open transaction of a replica that was killed hides the end of the topic until it times out, or until the
        next owner of the partition opens its writer.
        """
        found = Asked()
        for key, value in (await bus.latest(self.topic, NAME)).items():
            _take_into(found, key, value)
        return found

    async def followed(self, timeout: float = _KNOWN_TIMEOUT) -> Asked:
        """Return what is asked, as far as this replica follows it: what was asked just now may be missing.

        Raises:
            Unavailable: it has not been read to its end yet, as after a start, or while an open transaction hides it.
        """
        try:
            async with asyncio.timeout(timeout):
                await self.known()
        except TimeoutError as exc:
            raise Unavailable(f"{self.topic}: what operators have asked is not known yet") from exc
        return self.asked

    async def rewind_asked(self, pipelines: Callable[[], Iterable[str]], partition: int, starts: Starts) -> None:
        """Wait until a partition with these starts has a rewind to carry out; `pipelines` returns those that run now.

        Raises:
            RewindAsked: it has.
        """
        while not any(self.asked.pending(pipelines(), partition, starts)):
            await self.changed(_RELOAD_INTERVAL)
        raise RewindAsked

    async def control(self, bus: Bus, pipeline: str, control: Control) -> Request | None:
        """Ask that a pipeline be paused or run. Raises `Unavailable`.

        Returns the request where this replica has not read it from the topic yet.
        """
        request = Request(control_key(pipeline), encode(control))
        await self._append(bus, *request)
        return None if await self._seen(lambda: self.asked.controls.get(pipeline) == control) else request

    async def rewind(self, writer: Writer, pipeline: str, rewind: Rewind) -> Request | None:
        """Ask for a rewind; it replaces one of the same pipeline that is pending. Returns as `control`.

        Raises what `Writer.commit` does; the writer is that of `ExclusiveRequests`.
        """
        request = Request(rewind_key(pipeline), encode(rewind))
        transaction = Transaction()
        transaction.append(self.topic, *request)
        await writer.commit(transaction)
        return None if await self._seen(lambda: self.asked.rewinds.get(pipeline) == rewind) else request

    async def reload(self, bus: Bus, reload: Reload) -> None:
        """Ask the other replicas to read their settings files again. Raises `Unavailable`."""
        await self._append(bus, reload_key(), encode(reload))

    async def reloads(self, node: str) -> AsyncIterator[Reload]:
        """Yield the reloads that are asked of this replica from now on; of several at once, the last one."""
        await self.known()
        done = self.asked.reload
        while True:
            reload = self.asked.reload
            if reload is not None and reload != done:
                done = reload
                if reload.node != node:
                    yield reload
            await self._changed.wait()

    async def _append(self, bus: Bus, key: bytes, value: bytes) -> None:
        async with bus.appender() as appender:
            await appender.append(self.topic, [Outgoing(key, value)])

    async def _seen(self, condition: Callable[[], bool]) -> bool:
        """Wait until `follow` has read what was appended, and return whether it has.

        Not for long: another request may have replaced it, or an open transaction hides it.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_SEEN_TIMEOUT):
                while not condition():
                    await self._changed.wait()
        return condition()

    def _take(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.key is not None and record.value is not None:
                _take_into(self.asked, record.key, record.value)
        if records:
            self.paused = self.asked.paused
            self._changed.set()
            self._changed = asyncio.Event()


def _take_into(asked: Asked, key: bytes, value: bytes) -> None:
    try:
        asked.take(key, value)
    except (ValueError, RecursionError) as exc:
        fields = {"component": "operations", "key": key.decode(errors="replace"), "error": str(exc)}
        logger.warning("ignoring unreadable request", extra=fields)
