"""Background tasks of a connection. The one module of the library that creates tasks."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any


def started(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task that the caller ends with `ended`."""
    return asyncio.get_running_loop().create_task(work, name=name)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task, and return when it has ended; its error is of no interest any more."""
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task
