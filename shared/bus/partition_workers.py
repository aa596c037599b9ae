"""Work on partitions that come and go: every bus starts, restarts and stops the drives of a group this way."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from shared.bus.protocol import Drive, Reader
from shared.errors import Fenced, Unavailable
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks, cancel_requested, cancelled

logger = logging.getLogger(__name__)

OpenReader = Callable[[int], AbstractAsyncContextManager[Reader]]
"""Opens a reader of one partition at the group's committed offset, or at the earliest where there is none."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds before a drive that ended is started again."""

    first: float = 0.1
    longest: float = 5.0
    """Each pause is twice the one before, up to this; a drive that ran for so long begins anew at `first`."""
    fenced: float = 15.0
    """After a newer owner was met: long enough for the group to tell us that the partition is not ours any more,
    or two owners would go on fencing one another."""


class PartitionWorkers:
    """The drives of one member of a group: at most one a partition."""

    def __init__(
        self,
        name: str,
        drive: Drive,
        open_reader: OpenReader,
        tasks: Tasks,
        *,
        pauses: Pauses | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`name` is what logs call it: the group and the topic."""
        self._name = name
        self._drive = drive
        self._open_reader = open_reader
        self._tasks = tasks
        self._pauses = pauses or Pauses()
        self._clock = clock
        self._running: dict[int, asyncio.Task[None]] = {}

    @property
    def partitions(self) -> frozenset[int]:
        """What is driven now."""
        return frozenset(self._running)

    def start(self, partition: int) -> None:
        """Begin to drive a partition that became ours; nothing happens where it is driven already."""
        if partition not in self._running:
            work = self._keep_driving(partition)
            self._running[partition] = self._tasks.start(f"{self._name}/{partition}", work)

    async def stop(self, partitions: Iterable[int]) -> None:
        """Cancel the drives of these partitions, and return once all of them have ended."""
        ending = [task for number in partitions if (task := self._running.pop(number, None)) is not None]
        await cancelled(*ending)

    async def _keep_driving(self, partition: int) -> None:
        pause = self._pauses.first
        while True:
            began = self._clock.monotonic()
            fenced = await self._drive_once(partition)
            if self._clock.monotonic() - began > self._pauses.longest:
                pause = self._pauses.first
            await self._clock.sleep(self._pauses.fenced if fenced else pause)
            pause = min(pause * 2, self._pauses.longest)

    async def _drive_once(self, partition: int) -> bool:
        """Return whether it ended because a newer owner was met."""
        try:
            async with self._open_reader(partition) as reader:
                await self._drive(reader)
        except asyncio.CancelledError:
            if cancel_requested():
                raise
            logger.warning("%s/%d: what the drive waited for was cancelled; it is started again", self._name, partition)
        except Fenced as exc:
            logger.warning("%s/%d: %s", self._name, partition, exc)
            return True
        except Unavailable as exc:
            logger.warning("%s/%d: %s; it is driven again after a pause", self._name, partition, exc)
        except Exception:
            logger.exception("%s/%d: the drive failed; it is started again after a pause", self._name, partition)
        else:
            logger.warning("%s/%d: the drive ended by itself; it is started again", self._name, partition)
        return False
