"""Runs one source while this replica holds its lease, and restarts it when it fails or stalls.

    run              acquires the lease
     └ _supervise    starts one run after another while the lease is held; cancels a run that stalls
        └ _run_once  one run, until it fails

Sources are isolated from each other: each has its own poller, and pollers share no task, no blocking call and no
failure.
"""

import asyncio
import logging

from services.system_api.sources.source import SourceOpener, SourceOptions
from services.system_api.supervisor.oversize import OversizeFilter
from services.system_api.supervisor.publisher import BusUnavailable
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.run import SourceContext, SourceRun
from services.system_api.supervisor.schedule import Schedule
from services.system_api.supervisor.status import SourceStatus
from services.system_api.supervisor.watchdog import Activity, Watchdog
from shared.errors import Fenced, TooLarge, TrelayError, Unavailable
from shared.lease import Lease, Leases
from shared.runtime.tasks import Tasks

logger = logging.getLogger(__name__)

_CANCEL_TIMEOUT = 5.0
"""Seconds that a cancelled run has to stop before it is abandoned."""
_FENCED_PAUSE = 15.0
"""Seconds to wait after a newer owner fenced this one: longer than a lease, or two owners would fence each other in
turns."""
_MAX_ABANDONED = 3
"""Runs that may ignore their cancellation until no further one is started: each keeps its memory and connections."""


class Poller:
    """Runs one source; `status` describes it."""

    def __init__(
        self,
        options: SourceOptions,
        open_source: SourceOpener,
        leases: Leases,
        context: SourceContext,
        reporter: Reporter,
    ) -> None:
        """The source's name is the reporter's."""
        self.name = reporter.status.name
        self._options = options
        self._open_source = open_source
        self._leases = leases
        self._context = context
        self._clock = context.clock
        self._report = reporter
        self._schedule = Schedule(options.interval, options.retry)
        self._watchdog = Watchdog(options.poll_timeout)
        self._oversize = OversizeFilter()
        self._failures = 0
        """Consecutive runs that ended early."""
        self._fenced = False
        self._abandoned: list[asyncio.Task[None]] = []
        self._fields: dict[str, object] = {"component": "source", "source": self.name}

    @property
    def status(self) -> SourceStatus:
        """The current status of the source."""
        return self._report.status

    async def run(self) -> None:
        """Run the source whenever this replica holds its lease. Never returns; cancel it to stop."""
        while True:
            self._fenced = False
            try:
                async with self._leases.hold(f"source/{self.name}") as lease:
                    await self._supervise(lease)
                self._report.standby()
            except Unavailable as exc:
                self._report.blocked(str(exc))
                self._failures += 1
            except Exception as exc:
                # A bug here must not stop the other sources.
                logger.exception("unexpected error in poller", extra=self._fields)
                self._report.failed(f"{type(exc).__name__}: {exc}")
                self._failures += 1
            await self._clock.sleep(_FENCED_PAUSE if self._fenced else self._pause())

    async def _supervise(self, lease: Lease) -> None:
        """Start one run after another until the lease is lost, or a newer owner has fenced this one."""
        async with Tasks() as tasks:
            lost = tasks.start(f"lease of source {self.name}", lease.lost())
            while True:
                began = self._clock.monotonic()
                if self._may_run():
                    await self._wait_for_run(tasks.start(f"source {self.name}", self._run_once()), lost)
                if lost.done() or self._fenced:
                    return
                long = self._clock.monotonic() - began > self._options.retry.longest_wait
                self._failures = 1 if long else self._failures + 1
                self._report.restarted()
                pause = tasks.start(f"pause of source {self.name}", self._clock.sleep(self._pause()))
                await asyncio.wait({lost, pause}, return_when=asyncio.FIRST_COMPLETED)

    def _may_run(self) -> bool:
        """Return whether another run may start; report why not."""
        self._abandoned = [run for run in self._abandoned if not run.done()]
        if len(self._abandoned) < _MAX_ABANDONED:
            return True
        self._report.failed(f"{_MAX_ABANDONED} runs hang and ignore their cancellation; restart this replica")
        return False

    async def _wait_for_run(self, run: asyncio.Task[None], lost: asyncio.Task[None]) -> None:
        """Wait until a run ends; cancel it when the lease is lost or the run has stalled."""
        while not run.done():
            await asyncio.wait({run, lost}, timeout=self._watchdog.timeout / 4, return_when=asyncio.FIRST_COMPLETED)
            stalled = self._watchdog.stalled(self._clock.monotonic())
            if lost.done() or stalled is not None:
                await self._cancel(run)
                if stalled is not None:
                    self._report_stall(stalled)
                return

    def _report_stall(self, stalled: Activity) -> None:
        error = f"{stalled} took longer than {self._watchdog.timeout:g} s"
        if stalled.uses_bus:
            self._report.blocked(error)
        else:
            self._report.failed(error)

    async def _run_once(self) -> None:
        """Run the source until it fails, and report why."""
        run = SourceRun(self._options, self._open_source, self._context, self._report, self._watchdog, self._oversize)
        try:
            await run.run()
        except Fenced as exc:
            self._fenced = True
            logger.warning("fenced by a newer owner", extra=self._fields | {"error": str(exc)})
        except BusUnavailable as exc:
            self._report.blocked(str(exc))
        except TooLarge as exc:
            logger.warning("record too large; isolating it", extra=self._fields | {"error": str(exc)})
        except TrelayError as exc:
            self._report.failed(str(exc))
        except Exception as exc:
            if self._failures == 0:  # one traceback is enough
                logger.exception("unexpected error in source", extra=self._fields)
            self._report.failed(f"{type(exc).__name__}: {exc}")
        finally:
            self._watchdog.pause()

    async def _cancel(self, run: asyncio.Task[None]) -> None:
        run.cancel()
        await asyncio.wait({run}, timeout=_CANCEL_TIMEOUT)
        if not run.done():
            self._abandoned.append(run)
            logger.error("run ignored cancellation; abandoned", extra=self._fields | {"after_s": _CANCEL_TIMEOUT})

    def _pause(self) -> float:
        return self._schedule.after_failures(max(self._failures, 1), self._context.rng.random())
