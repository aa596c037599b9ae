"""Runs one source while this replica holds its lease, and restarts it when it fails or stalls.

    run              waits for the turn of this replica, and ends when it is over
     └ _own          acquires the lease
     └ _supervise    starts one run after another while the lease is held and the source is not paused
        └ _attend    one run, until it fails; cancels it when it stalls, or when an operator asks for something else

Sources are isolated from each other: each has its own poller, and pollers share no task, no blocking call and no
failure.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from enum import Enum, auto

from services.system_api.operations.controls import SourceControl
from services.system_api.operations.requests import Command, Control
from services.system_api.replicas.membership import Turn
from services.system_api.sources.source import SourceOpener, SourceOptions
from services.system_api.supervisor.oversize import OversizeFilter
from services.system_api.supervisor.publisher import BusUnavailable
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.run import Lasting, SourceContext, SourceRun
from services.system_api.supervisor.schedule import Schedule
from services.system_api.supervisor.status import SourceStatus
from services.system_api.supervisor.wakeup import Wakeup
from services.system_api.supervisor.watchdog import Activity, Watchdog
from shared.errors import Fenced, TooLarge, TrelayError, Unavailable
from shared.lease import Lease, Leases
from shared.runtime.tasks import Tasks, cancel_requested, cancelled

logger = logging.getLogger(__name__)

_CANCEL_TIMEOUT = 5.0
"""Seconds that a cancelled run has to stop before it is abandoned."""
_FENCED_PAUSE = 15.0
"""Seconds to wait after a newer owner fenced this one: longer than a lease, or two owners would fence each other in
turns."""
_MAX_ABANDONED = 3
"""Runs that may ignore their cancellation until no further one is started: each keeps its memory and connections."""


class _End(Enum):
    """How a run ended."""

    DONE = auto()
    """By itself, without a failure: what was asked for is carried out."""
    ASKED = auto()
    """An operator asked for something else."""
    FAILED = auto()


class Poller:
    """Runs one source; `status` describes it."""

    def __init__(
        self,
        options: SourceOptions,
        open_source: SourceOpener,
        leases: Leases,
        context: SourceContext,
        reporter: Reporter,
        control: SourceControl,
        turn: Turn,
    ) -> None:
        """The source's name is the reporter's."""
        self.name = reporter.status.name
        self._options = options
        self._open_source = open_source
        self._leases = leases
        self._context = context
        self._clock = context.clock
        self._report = reporter
        self._control = control
        self._turn = turn
        self._schedule = Schedule(options.interval, options.retry)
        self._lasting = Lasting(control, OversizeFilter(), Wakeup())
        self._failures = 0
        """Consecutive runs that ended early."""
        self._fenced = False
        self._ended = _End.FAILED
        self._abandoned: list[asyncio.Task[None]] = []
        self._fields: dict[str, object] = {"component": "source", "source": self.name}

    @property
    def status(self) -> SourceStatus:
        """The current status of the source."""
        return self._report.status

    async def run(self) -> None:
        """Run the source whenever it is this replica's turn. Never returns; cancel it to stop."""
        while True:
            await self._turn.granted()
            async with Tasks() as tasks:
                owning = tasks.start(f"owner of source {self.name}", self._own())
                revoked = tasks.start(f"turn of source {self.name}", self._turn.revoked())
                await _first(owning, revoked)
            if not self._turn.mine:
                self._report.standby()

    async def _own(self) -> None:
        """Run the source while this replica holds its lease, and return when it is lost."""
        self._fenced = False
        try:
            async with self._leases.hold(f"source/{self.name}") as lease:
                if (published := await self._control.last_status()) is not None:
                    self._report.adopt(published)
                self._report.owned(lease.epoch)
                await self._control.known()
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
        finally:
            self._report.disowned()
        await self._clock.sleep(_FENCED_PAUSE if self._fenced else self._pause())

    async def _supervise(self, lease: Lease) -> None:
        """Start one run after another until the lease is lost, or a newer owner has fenced this one."""
        async with Tasks() as tasks:
            lost = tasks.start(f"lease of source {self.name}", lease.lost())
            while not lost.done() and not self._fenced:
                seen = self._control.current
                if _idle(seen):
                    self._report.paused(seen.by, seen.reason)
                    async with self._change(tasks, seen) as changed:
                        await _first(lost, changed)
                    continue
                self._ended = _End.FAILED
                if self._may_run():
                    await self._attend(tasks, lease, lost)
                if self._ended is _End.FAILED and not lost.done() and not self._fenced:
                    self._report.restarted()
                    pause = tasks.start(f"pause of source {self.name}", self._clock.sleep(self._pause()))
                    async with self._change(tasks, self._control.current) as changed:
                        await _first(lost, changed, pause)

    def _may_run(self) -> bool:
        """Return whether another run may start; report why not."""
        self._abandoned = [run for run in self._abandoned if not run.done()]
        if len(self._abandoned) < _MAX_ABANDONED:
            return True
        self._report.failed(f"{_MAX_ABANDONED} runs hang and ignore their cancellation; restart this replica")
        self._failures += 1
        return False

    async def _attend(self, tasks: Tasks, lease: Lease, lost: asyncio.Task[None]) -> None:
        """Run the source once, until it ends or is to end."""
        began = self._clock.monotonic()
        demand, watchdog = self._control.demand, Watchdog(self._options.poll_timeout)
        run = tasks.start(f"source {self.name}", self._run_once(lease, watchdog))
        while not run.done():
            seen = self._control.current
            async with self._change(tasks, seen) as changed:
                await _first(run, lost, changed, timeout=watchdog.timeout / 4)
            stalled = watchdog.stalled(self._clock.monotonic())
            if lost.done() or stalled is not None:
                await self._cancel(run)
                if stalled is not None:
                    self._report_stall(stalled)
                break
            if not demand.met_by(self._control.demand):
                await self._cancel(run)
                self._ended = _End.ASKED
                break
            if self._control.current.polls > seen.polls:
                self._lasting.wakeup.set()
        if self._ended is _End.FAILED:
            long = self._clock.monotonic() - began > self._options.retry.longest_wait
            self._failures = 1 if long else self._failures + 1

    @asynccontextmanager
    async def _change(self, tasks: Tasks, seen: Control) -> AsyncIterator[asyncio.Task[None]]:
        """Provide a task that ends when something else is asked than `seen`."""
        change = tasks.start(f"control of source {self.name}", self._control.changed_from(seen))
        try:
            yield change
        finally:
            await cancelled(change)

    def _report_stall(self, stalled: Activity) -> None:
        error = f"{stalled} took longer than {self._options.poll_timeout:g} s"
        if stalled.uses_bus:
            self._report.blocked(error)
        else:
            self._report.failed(error)

    async def _run_once(self, lease: Lease, watchdog: Watchdog) -> None:
        """Run the source until it fails, and report why."""
        task = asyncio.current_task()
        lasting = replace(self._lasting, owned=lambda: lease.held and task not in self._abandoned)
        run = SourceRun(self._options, self._open_source, self._context, self._report, lasting, watchdog)
        try:
            await run.run()
        except BaseException as exc:
            # Any: a source may end the process, and a panic of a library written in Rust is no `Exception`.
            if cancel_requested() or isinstance(exc, KeyboardInterrupt | GeneratorExit):
                raise
            if asyncio.current_task() not in self._abandoned:
                self._report_failure(exc)
        else:
            self._ended = _End.DONE
        finally:
            watchdog.pause()

    def _report_failure(self, error: BaseException) -> None:
        match error:
            case Fenced():
                self._fenced = True
                logger.warning("fenced by a newer owner", extra=self._fields | {"error": str(error)})
            case BusUnavailable():
                self._report.blocked(str(error))
            case TooLarge():
                logger.warning("record too large; isolating it", extra=self._fields | {"error": str(error)})
            case TrelayError():
                self._report.failed(str(error))
            case asyncio.CancelledError():
                # Something that the source awaited was cancelled, as libraries do with what a lost connection serves.
                self._report.failed("the source was cancelled from within")
            case _:
                if self._failures == 0:  # one traceback is enough
                    logger.error("unexpected error in source", extra=self._fields, exc_info=error)
                self._report.failed(f"{type(error).__name__}: {error}")

    async def _cancel(self, run: asyncio.Task[None]) -> None:
        run.cancel()
        await asyncio.wait({run}, timeout=_CANCEL_TIMEOUT)
        if not run.done():
            self._abandoned.append(run)
            logger.error("run ignored cancellation; abandoned", extra=self._fields | {"after_s": _CANCEL_TIMEOUT})

    def _pause(self) -> float:
        return self._schedule.after_failures(max(self._failures, 1), self._context.rng.random())


def _idle(control: Control) -> bool:
    """Return whether nothing is to be done for a source: it is paused, and no rewind waits."""
    pending = control.pending
    return control.paused and (pending is None or pending.command is not Command.REWIND)


async def _first(*tasks: asyncio.Task[None], timeout: float | None = None) -> None:
    await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
