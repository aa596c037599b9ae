"""Background tasks: named, awaited, and never silent when they end.

The one place that creates tasks. A group belongs to a context; leaving it cancels and awaits what still runs.
"""

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Tasks:
    """Tasks that live as long as a context.

    A task that is to run for ever and ends, by an error or by itself, is logged and kept as `failure`, and wakes
    `failed()`: whoever owns the context decides what follows. The other tasks are left alone.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failure: asyncio.Future[BaseException] | None = None

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

    async def cancel_all(self) -> None:
        """Cancel what runs and wait until all of it has ended."""
        running = [task for task in self._tasks if not task.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _watch(self, task: asyncio.Task[None], *, endless: bool) -> None:
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, endless=endless))

    def _ended(self, task: asyncio.Task[None], *, endless: bool) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None and endless:
            error = RuntimeError(f"{task.get_name()} ended by itself")
        if error is None:
            return
        logger.error("%s failed: %s", task.get_name(), error, exc_info=error)
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(error)


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end; what it raised was its own affair and is dropped."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """Run work side by side and return what each gave; raise the first error once none of it runs any more."""
    if len(work) == 1:
        return [await work[0]]
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
