"""The poller drives one source for ever: under a lease, through as many lives as it takes.

    run      waits for the lease
     └ _own  begins one life after another while the lease is ours, and ends one that has stalled

Nothing that one source does reaches another: each has a poller, and pollers share no task, nothing they could block,
and no failure.
"""

import asyncio
import logging

from services.system_api.sources.source import Opening, SourceOptions
from services.system_api.supervisor.oversize import Oversize
from services.system_api.supervisor.publisher import BusAway
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.run import Life, Surroundings
from services.system_api.supervisor.schedule import Schedule
from services.system_api.supervisor.status import Condition
from services.system_api.supervisor.watchdog import Activity, Watch
from shared.errors import Fenced, TooLarge, TrelayError, Unavailable
from shared.lease import Lease, Leases
from shared.runtime.tasks import Tasks

logger = logging.getLogger(__name__)

_GRACE = 5.0
"""Seconds a cancelled life may take to end before it is left to itself."""
_FENCED_PAUSE = 15.0
"""Seconds after a newer owner was met: longer than a lease, or two owners would go on fencing one another."""


class Poller:
    """Drives one source; `condition` tells what it is doing."""

    def __init__(
        self, options: SourceOptions, opening: Opening, leases: Leases, surroundings: Surroundings, reporter: Reporter
    ) -> None:
        """The source's name is the reporter's."""
        self.name = reporter.condition.name
        self._options = options
        self._opening = opening
        self._leases = leases
        self._around = surroundings
        self._clock = surroundings.clock
        self._report = reporter
        self._schedule = Schedule(options.interval, options.retry)
        self._watch = Watch(options.bound)
        self._oversize = Oversize()
        self._setbacks = 0
        """Lives in a row that ended soon."""
        self._fenced = False

    @property
    def condition(self) -> Condition:
        """What is known of the source now."""
        return self._report.condition

    async def run(self) -> None:
        """Drive the source whenever its lease is ours. Never returns; cancel it to stop."""
        while True:
            self._fenced = False
            try:
                async with self._leases.hold(f"source/{self.name}") as lease:
                    await self._own(lease)
                self._report.standby()
            except Unavailable as exc:
                self._report.blocked(str(exc))
                self._setbacks += 1
            except Exception as exc:
                # A fault of ours, and no reason for the other sources to stop.
                logger.exception("the poller of source %s failed", self.name)
                self._report.faulty(f"{type(exc).__name__}: {exc}")
                self._setbacks += 1
            await self._clock.sleep(_FENCED_PAUSE if self._fenced else self._pause())

    async def _own(self, lease: Lease) -> None:
        """Begin one life after another, until the lease is lost or somebody has taken over without one."""
        async with Tasks() as tasks:
            gone = tasks.start(f"lease of source {self.name}", lease.lost())
            while True:
                began = self._clock.monotonic()
                await self._guard(tasks.start(f"source {self.name}", self._live()), gone)
                if gone.done() or self._fenced:
                    return
                long = self._clock.monotonic() - began > self._options.retry.longest_wait
                self._setbacks = 1 if long else self._setbacks + 1
                self._report.rebuilt()
                pause = tasks.start(f"pause of source {self.name}", self._clock.sleep(self._pause()))
                await asyncio.wait({gone, pause}, return_when=asyncio.FIRST_COMPLETED)

    async def _guard(self, life: asyncio.Task[None], gone: asyncio.Task[None]) -> None:
        """Wait for the end of a life; end it when the lease is lost, or when nothing has moved for too long."""
        while not life.done():
            await asyncio.wait({life, gone}, timeout=self._watch.bound / 4, return_when=asyncio.FIRST_COMPLETED)
            stalled = self._watch.stalled(self._clock.monotonic())
            if gone.done() or stalled is not None:
                await self._dismiss(life)
                if stalled is not None:
                    self._judge(stalled)
                return

    def _judge(self, stalled: Activity) -> None:
        error = f"{stalled} took longer than {self._watch.bound:g} s"
        if stalled.ours:
            self._report.blocked(error)
        else:
            self._report.faulty(error)

    async def _live(self) -> None:
        """Begin a life, and say why it ended."""
        try:
            await Life(self._options, self._opening, self._around, self._report, self._watch, self._oversize).run()
        except Fenced as exc:
            self._fenced = True
            logger.warning("source %s: %s", self.name, exc)
        except BusAway as exc:
            self._report.blocked(str(exc))
        except TooLarge as exc:
            logger.warning("source %s: %s; it is found out and put aside", self.name, exc)
        except TrelayError as exc:
            self._report.faulty(str(exc))
        except Exception as exc:
            if self._setbacks == 0:  # once is enough of the same
                logger.exception("source %s failed", self.name)
            self._report.faulty(f"{type(exc).__name__}: {exc}")
        finally:
            self._watch.rest()

    async def _dismiss(self, life: asyncio.Task[None]) -> None:
        life.cancel()
        await asyncio.wait({life}, timeout=_GRACE)
        if not life.done():
            logger.error("source %s: a stalled life cannot be ended; it is left to itself", self.name)

    def _pause(self) -> float:
        return self._schedule.after_failures(max(self._setbacks, 1), self._around.rng.random())
