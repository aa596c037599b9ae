"""Background tasks: named, awaited, and never silent when they end.

The one place that creates tasks. A group belongs to a context; leaving it cancels and awaits what still runs.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

_AGAIN = 2.5
"""Seconds after which a task that was told to end is told again: a cancellation can get lost, as in `asyncio.wait_for`
of Python 3.11 when it meets the result."""

_GIVEN_UP = 10.0
"""Seconds after which a task that does not end is left behind, so that everything else can be closed."""


class Tasks:
    """Tasks that live as long as a context.

    A task that is to run for ever and ends, by an error or by itself, is logged and kept as `failure`, and wakes
    `failed()`: whoever owns the context decides what follows. The other tasks are left alone.
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
        """Run work that may end when it is done; an error it ends with is logged and reported as `failed`."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._watch(task, endless=False)
        return task

    def keep(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run work that should never end by itself, until the context is left; any other end is a failure."""
        self._watch(asyncio.get_running_loop().create_task(work, name=name), endless=True)

    async def failed(self) -> BaseException:
        """Wait for the first failure and return it."""
        assert self._failure is not None, "enter the context first"
        return await asyncio.shield(self._failure)

    async def meanwhile(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work and return what it gives; if one of the tasks fails first, break the work off and raise that."""
        loop = asyncio.get_running_loop()
        working, failing = loop.create_task(work, name="meanwhile"), loop.create_task(self.failed(), name="failed")
        try:
            await asyncio.wait({working, failing}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise failing.result()
        finally:
            await cancelled(working, failing)

    async def cancel_all(self) -> None:
        """Cancel what runs, and return once all of it has ended, as `cancelled` does."""
        self._ending = True
        await cancelled(*self._tasks)

    def _watch(self, task: asyncio.Task[None], *, endless: bool) -> None:
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, endless=endless))

    def _ended(self, task: asyncio.Task[None], *, endless: bool) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None and endless and not self._ending:
            # Cancelled, too: by what it waited for, which from within looks as if it was meant.
            error = RuntimeError(f"{task.get_name()} ended by itself")
        if error is None:
            return
        logger.error("%s failed: %s", task.get_name(), error, exc_info=error)
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(error)


def cancel_requested() -> bool:
    """Whether somebody has cancelled the task that runs: a `CancelledError` alone may come from what it waited for.

    And the other way round, a task group whose members fail at that moment forgets it (Python 3.11).
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def cancelled(*tasks: asyncio.Task[Any], again: float = _AGAIN, given_up: float = _GIVEN_UP) -> None:
    """Cancel tasks and wait for their end; what they raise is their own affair and is dropped.

    A task that has not ended after `again` seconds is cancelled once more, and so on; one that has not after
    `given_up` is named in the log and left behind. Who waits here and is cancelled goes on waiting first, so that
    nothing outlives what it works with.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    interrupted: asyncio.CancelledError | None = None
    left = {task for task in tasks if not task.done()}
    while left and (waited := loop.time() - began) < given_up:
        for task in left:
            if waited >= again:
                logger.warning("%s was told to end %.1f s ago and goes on: it is told again", task.get_name(), waited)
            task.cancel()
        try:
            _, left = await asyncio.wait(left, timeout=min(again, given_up - waited))
        except asyncio.CancelledError as exc:
            interrupted = exc
            left = {task for task in left if not task.done()}
    for task in left:
        logger.error("%s does not end: it is left behind", task.get_name())
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # asked for, so that asyncio does not complain that nobody did
    if interrupted is not None:
        raise interrupted


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """Run work side by side and return what each gave; raise the first error once none of it runs any more."""
    if len(work) == 1:
        return [await work[0]]
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]


async def hedged(
    attempts: Sequence[Callable[[], Coroutine[Any, Any, T]]], delay: float, failures: tuple[type[Exception], ...]
) -> T:
    """Make attempts until one succeeds, and return what it gave; the others are cancelled.

    The next attempt begins when one has failed, and beside those that run whenever `delay` seconds have passed.

    Raises:
        One of `failures`: the last one, if all attempts failed. Any other error is raised at once.
    """
    left = iter(attempts)
    running: set[asyncio.Task[T]] = set()
    failure: BaseException | None = None
    try:
        while True:
            attempt = next(left, None)
            if attempt is not None:
                running.add(asyncio.get_running_loop().create_task(attempt(), name="hedged"))
            elif not running:
                assert failure is not None, "no attempt was given"
                raise failure
            done, running = await asyncio.wait(
                running, timeout=None if attempt is None else delay, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if task.cancelled() or not isinstance(task.exception(), failures):
                    return task.result()
                failure = task.exception()
    finally:
        await cancelled(*running)
