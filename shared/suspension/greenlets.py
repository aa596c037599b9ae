"""Lets plain functions wait on the event loop, deep below the coroutine that calls them.

The steps of a pipeline are plain functions, for a coroutine at each level would cost more than most steps. Some of them
evaluate an expression that takes seconds, in another process. `suspendable` runs a coroutine in a greenlet: there a
plain function may `wait` while other tasks run, as SQLAlchemy has it for drivers. Elsewhere, as in the command line, it
has to block; `can_suspend` tells.

A function that waits may be entered again by another task meanwhile, as any coroutine.
"""

import itertools
import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]  # published without types

T = TypeVar("T")

_BREATHE_AFTER = 0.01
"""Seconds after which other tasks run, the bus's heartbeats among them."""


class _Suspendable(greenlet):  # type: ignore[misc]  # as above
    resumed_at = 0.0
    """When other tasks ran last, in seconds of the monotonic clock."""
    resumed = 0
    """Tells this time from all others."""


_numbers = itertools.count(1)


async def suspendable(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine so that the plain functions that it calls may `wait`, but not those of tasks that it starts."""
    return await _driven(work)


@types.coroutine
def _driven(work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    current = getcurrent()
    runner = _Suspendable(wait, current)
    runner.gr_context = current.gr_context
    runner.resumed_at = time.monotonic()
    # What comes back is what the task waits for or, at the end, the result.
    found = runner.switch(work)
    while not runner.dead:
        try:
            yield found
        except BaseException as exc:  # noqa: BLE001 -- it is raised where the coroutine waits
            resume: Callable[[], Any] = partial(runner.throw, exc)
        else:
            resume = runner.switch
        runner.resumed_at, runner.resumed = time.monotonic(), next(_numbers)
        found = resume()
    return found  # type: ignore[no-any-return]


def can_suspend() -> bool:
    """Return whether a plain function may `wait` here."""
    return isinstance(getcurrent(), _Suspendable)


def resumed() -> int:
    """Return a number that differs from an earlier one if other tasks ran in between, below `suspendable`."""
    current = getcurrent()
    return current.resumed if isinstance(current, _Suspendable) else 0


def wait(work: Awaitable[T]) -> T:
    """Wait from a plain function, below `suspendable`; return the result. Raises what the awaitable does."""
    steps = work.__await__()
    resume: Callable[[], Any] = partial(next, steps)
    while True:
        try:
            awaited = resume()
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        try:
            _switch(awaited)
        except BaseException as exc:  # noqa: BLE001 -- it is raised in what waits
            resume = partial(steps.throw, exc)
        else:
            resume = partial(next, steps)


def breathe() -> None:
    """Let other tasks run if they have not for long, between two pieces of work; does nothing where it cannot."""
    current = getcurrent()
    if isinstance(current, _Suspendable) and time.monotonic() - current.resumed_at > _BREATHE_AFTER:
        _switch(None)  # what `asyncio.sleep(0)` yields to the loop


def _switch(awaited: object) -> None:
    parent = getcurrent().parent
    assert parent is not None, "below `suspendable`"
    parent.switch(awaited)
