"""Background tasks: named, awaited, and logged when they fail.

The one module that creates tasks. A group belongs to a context; leaving it cancels and awaits the tasks that still run.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from shared.errors import SettingsError
from shared.suspension.greenlets import can_suspend, suspendable

logger = logging.getLogger(__name__)

T = TypeVar("T")

_CANCEL_INTERVAL = 2.5
"""Seconds after which a task that still runs is cancelled again: `asyncio.wait_for` of Python 3.11 loses a cancellation
that arrives together with its result."""

_CANCEL_TIMEOUT = 10.0
"""Seconds after which a task that still runs is abandoned, so that everything else can be closed."""


def started(name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task that the caller itself awaits or cancels."""
    return asyncio.get_running_loop().create_task(work, name=name)


class Tasks:
    """Tasks that run as long as a context.

    An endless task that ends, with or without an error, is logged, kept as the failure and wakes `failed()`: the owner
    of the context decides what to do. The other tasks continue.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failure: asyncio.Future[BaseException] | None = None
        self._ending = False

    async def __aenter__(self) -> Self:
        self._failure = asyncio.get_running_loop().create_future()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.cancel_all()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work that may end when it is done; an error is logged and reported by `failed`."""
        task = started(name, work)
        self._watch(task, endless=False)
        return task

    def keep(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run endless work until the context is left; any earlier end is a failure."""
        self._watch(started(name, work), endless=True)

    async def failed(self) -> BaseException:
        """Wait for the first failure and return it."""
        assert self._failure is not None, "enter the context first"
        return await asyncio.shield(self._failure)

    async def meanwhile(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of `work`; if one of the tasks fails first, cancel `work` and raise that failure."""
        working, failing = started("meanwhile", work), started("failed", self.failed())
        try:
            await asyncio.wait({working, failing}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise failing.result()
        finally:
            await cancelled(working, failing)

    async def cancel_all(self) -> None:
        """Cancel all tasks, and return once they have ended, as `cancelled` does."""
        self._ending = True
        await cancelled(*self._tasks)

    def _watch(self, task: asyncio.Task[None], *, endless: bool) -> None:
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, endless=endless))

    def _ended(self, task: asyncio.Task[None], *, endless: bool) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None and endless and not self._ending:
            # Also when it was cancelled: something that it awaited was, which looks the same from inside the task.
            error = RuntimeError(f"{task.get_name()} ended unexpectedly")
        if error is None:
            return
        # A fault in the settings names its place, and `run` prints it: a traceback would hide it.
        shown = None if isinstance(error, SettingsError) else error
        logger.error("task failed", exc_info=shown, extra={"task": task.get_name(), "error": str(error)})
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(error)


def cancel_requested() -> bool:
    """Return whether the running task was cancelled: a `CancelledError` alone may come from what the task awaits.

    The reverse happens too: a task group whose members fail at that moment swallows the cancellation (Python 3.11).
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def cancelled(
    *tasks: asyncio.Task[Any], interval: float = _CANCEL_INTERVAL, timeout: float = _CANCEL_TIMEOUT
) -> None:
    """Cancel tasks and wait until they have ended; the errors that they raise are dropped.

    A task that still runs is cancelled again every `interval` seconds, and abandoned with a log line after `timeout`.
    A caller that is itself cancelled still waits first, so that no task outlives the resources that it uses.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    interrupted: asyncio.CancelledError | None = None
    left = {task for task in tasks if not task.done()}
    while left and (waited := loop.time() - began) < timeout:
        for task in left:
            if waited >= interval:
                logger.warning(
                    "task still running after cancel; cancelling again",
                    extra={"task": task.get_name(), "after_s": round(waited, 1)},
                )
            task.cancel()
        try:
            _, left = await asyncio.wait(left, timeout=min(interval, timeout - waited))
        except asyncio.CancelledError as exc:
            interrupted = exc
            left = {task for task in left if not task.done()}
    for task in left:
        logger.error("task ignored cancellation; abandoned", extra={"task": task.get_name()})
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log that it never was
    if interrupted is not None:
        raise interrupted


async def within(
    seconds: float,
    name: str,
    work: Coroutine[Any, Any, T],
    *,
    interval: float = _CANCEL_INTERVAL,
    timeout: float = _CANCEL_TIMEOUT,
) -> T:
    """Return the result of work, and raise what it raises; the work is that of users, and may ignore its cancellation.

    `asyncio.timeout` cancels once, and waits indefinitely where that is lost. Here it is cancelled and abandoned as
    `cancelled` says, also where the caller is cancelled.

    Raises:
        TimeoutError: it has no result after `seconds`.
    """
    task = started(name, work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await cancelled(task, interval=interval, timeout=timeout)
        raise
    if done:
        return task.result()
    await cancelled(task, interval=interval, timeout=timeout)
    raise TimeoutError


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """Run work concurrently and return the results in order; raise the first error after all of it has ended.

    A result may be an error that was returned, not raised. The work is `suspendable` where the caller is.
    """
    if len(work) == 1:
        return [await work[0]]
    suspends = can_suspend()
    tasks = [started("together", suspendable(each) if suspends else each) for each in work]
    await asyncio.gather(*tasks, return_exceptions=True)
    return [task.result() for task in tasks]


async def hedged(
    attempts: Sequence[Callable[[], Coroutine[Any, Any, T]]], delay: float, failures: tuple[type[Exception], ...]
) -> T:
    """Make attempts until one succeeds, and return its result; the others are cancelled.

    The next attempt starts when one has failed, and every `delay` seconds beside those that still run.

    Raises:
        One of `failures`: the last one, if all attempts failed. Any other error is raised at once.
    """
    left = iter(attempts)
    begun: list[asyncio.Task[T]] = []
    running: set[asyncio.Task[T]] = set()
    failure: BaseException | None = None
    try:
        while True:
            attempt = next(left, None)
            if attempt is not None:
                begun.append(started("hedged", attempt()))
                running.add(begun[-1])
            elif not running:
                assert failure is not None, "no attempt was given"
                raise failure
            done, running = await asyncio.wait(
                running, timeout=None if attempt is None else delay, return_when=asyncio.FIRST_COMPLETED
            )
            for task in begun:
                if task not in done:
                    continue
                if task.cancelled() or not isinstance(task.exception(), failures):
                    return task.result()
                failure = task.exception()
    finally:
        # Those that ended together with the one that is returned, too: their errors are to be retrieved.
        await cancelled(*begun)
