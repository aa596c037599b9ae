"""Background tasks of a connection. The one module of the library that creates tasks."""

import asyncio
from collections.abc import Coroutine
from typing import Any


def started(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task that the caller ends with `ended`."""
    return asyncio.get_running_loop().create_task(work, name=name)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task, and return when it has ended; its error is of no interest any more.

    Raises:
        CancelledError: the caller was cancelled meanwhile. The task ends by itself.
    """
    task.cancel()
    await asyncio.wait([task])  # not the task itself: whose cancellation that raises would not be known
    if not task.cancelled():
        task.exception()  # marks it as retrieved
