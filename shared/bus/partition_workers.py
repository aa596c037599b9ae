"""Runs the workers of the partitions that are assigned to one member of a group; the same for every bus."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple

from shared.bus.protocol import PartitionWorker, Reader
from shared.errors import Fenced, Unavailable
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks, cancel_requested, cancelled

logger = logging.getLogger(__name__)

OpenReader = Callable[[int], AbstractAsyncContextManager[Reader]]
"""Opens a reader of one partition at the group's committed offset, or at the earliest offset if there is none."""


class GroupTopic(NamedTuple):
    """A group and the topic that it reads, as logs name them."""

    group: str
    topic: str


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds before a worker that ended is restarted."""

    first: float = 0.1
    longest: float = 5.0
    """Each pause is twice the one before, up to this. After a run of this length, the next pause is `first` again."""
    fenced: float = 15.0
    """After a newer owner has fenced the worker. The group must be able to revoke the partition in this time; with a
    shorter pause, two owners would keep fencing each other."""


class _End(NamedTuple):
    """How a run of a worker ended."""

    message: str
    error: BaseException | None = None
    expected: bool = False
    """Whether it is an outage, and no bug."""


@dataclass(slots=True)
class _Outage:
    """Since when a worker has not run, and how many attempts have failed."""

    began: float = 0.0
    failures: int = 0


class PartitionWorkers:
    """The workers of one member of a group, at most one for each partition."""

    def __init__(
        self,
        reads: GroupTopic,
        worker: PartitionWorker,
        open_reader: OpenReader,
        tasks: Tasks,
        *,
        pauses: Pauses | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._reads = reads
        self._worker = worker
        self._open_reader = open_reader
        self._tasks = tasks
        self._pauses = pauses or Pauses()
        self._clock = clock
        self._running: dict[int, asyncio.Task[None]] = {}

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions that have a worker."""
        return frozenset(self._running)

    def start(self, partition: int) -> None:
        """Start the worker of a partition, unless it has one."""
        if partition not in self._running:
            name = f"{self._reads.group} {self._reads.topic}/{partition}"
            self._running[partition] = self._tasks.start(name, self._keep_running(partition))

    async def stop(self, partitions: Iterable[int]) -> None:
        """Cancel the workers of these partitions, and return once all of them have ended."""
        ending = [task for number in partitions if (task := self._running.pop(number, None)) is not None]
        await cancelled(*ending)

    async def _keep_running(self, partition: int) -> None:
        pause = self._pauses.first
        outage = _Outage()
        while True:
            began = self._clock.monotonic()
            end = await self._run_once(partition, outage)
            now = self._clock.monotonic()
            if now - began > self._pauses.longest:
                pause = self._pauses.first
            wait = self._pauses.fenced if isinstance(end.error, Fenced) else pause
            self._log_end(partition, end, outage, wait)
            await self._clock.sleep(wait)
            pause = min(pause * 2, self._pauses.longest)

    async def _run_once(self, partition: int, outage: _Outage) -> _End:
        try:
            async with self._open_reader(partition) as reader:
                self._log_restart(partition, outage)
                await self._worker(reader)
        except asyncio.CancelledError as exc:
            if cancel_requested():
                raise
            return _End("worker cancelled by what it awaited; restarting", exc, expected=True)
        except Fenced as exc:
            return _End("worker fenced by a newer owner; restarting", exc, expected=True)
        except Unavailable as exc:
            return _End("worker failed; restarting", exc, expected=True)
        except Exception as exc:  # noqa: BLE001 -- logged with its traceback
            return _End("worker failed; restarting", exc)
        return _End("worker returned; restarting", expected=True)

    def _log_end(self, partition: int, end: _End, outage: _Outage, wait: float) -> None:
        if not outage.failures:
            outage.began = self._clock.monotonic()
        outage.failures += 1
        first = outage.failures == 1
        level = logging.ERROR if not end.expected else logging.WARNING if first else logging.DEBUG
        logger.log(
            level,
            end.message,
            exc_info=None if end.expected else end.error,
            extra=self._fields(partition) | {"error": str(end.error or ""), "retry_in_s": wait},
        )

    def _log_restart(self, partition: int, outage: _Outage) -> None:
        if outage.failures:
            after = self._clock.monotonic() - outage.began
            fields = self._fields(partition) | {"after_s": round(after, 3), "count": outage.failures}
            logger.info("worker restarted", extra=fields)
        outage.failures = 0

    def _fields(self, partition: int) -> dict[str, object]:
        return {"component": "bus", "group": self._reads.group, "topic": self._reads.topic, "partition": partition}
