"""Connections and requests that an interruption of their user cannot break.

A connection that is left open keeps its messages from the next one: a queue has one consumer, a client id one session.
So it is opened and closed in tasks of its own, even if its user is interrupted meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from shared.runtime.tasks import started

T = TypeVar("T")

_CLOSE_TIMEOUT = 2.0
"""Seconds to wait for a connection to be closed; it goes on in the background."""

_closing: set[asyncio.Task[None]] = set()
_running: set[asyncio.Task[Any]] = set()
"""Requests and openings that have not ended. A task that nothing else refers to may be destroyed before it ends, and an
interruption can end whatever refers to these."""


@asynccontextmanager
async def surely_closed(
    what: str, opening: Coroutine[Any, Any, T], close: Callable[[T], Coroutine[Any, Any, object]]
) -> AsyncIterator[T]:
    """Open a connection for as long as the context lasts. `opening` has its own timeout; what it raises is raised."""
    task = _run(f"open {what}", opening)
    try:
        connection = await asyncio.shield(task)
    except BaseException:
        task.add_done_callback(lambda done: _close_late(what, done, close))
        raise
    try:
        yield connection
    finally:
        await asyncio.wait({_close(what, connection, close)}, timeout=_CLOSE_TIMEOUT)


async def detached(what: str, request: Coroutine[Any, Any, T], unheeded: set[asyncio.Task[Any]] | None = None) -> T:
    """Return the result of a request that runs in a task of its own, for clients that break when they are interrupted.

    A request whose caller is cancelled is cancelled as well. With `unheeded`, it goes on, and is in that set meanwhile.
    """
    task = _run(what, request)
    try:
        await asyncio.wait({task})
    except BaseException:
        if unheeded is None:
            task.cancel()
        else:
            unheeded.add(task)
            task.add_done_callback(unheeded.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise
    return task.result()


def _run(name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    task = started(name, work)
    _running.add(task)
    task.add_done_callback(_running.discard)
    return task


def _close(what: str, connection: T, close: Callable[[T], Coroutine[Any, Any, object]]) -> asyncio.Task[None]:
    task = started(f"close {what}", _closed(connection, close))
    _closing.add(task)
    task.add_done_callback(_closing.discard)
    return task


async def _closed(connection: T, close: Callable[[T], Coroutine[Any, Any, object]]) -> None:
    try:
        await close(connection)
    except Exception:  # noqa: BLE001 -- the connection was broken already, which its user has seen
        return


def _close_late(what: str, opened: asyncio.Task[T], close: Callable[[T], Coroutine[Any, Any, object]]) -> None:
    """Close a connection that was opened after its user was interrupted."""
    if not opened.cancelled() and opened.exception() is None:
        _ = _close(what, opened.result(), close)
