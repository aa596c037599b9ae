"""How long the servers of tests may take to start, what is tried again, and whether a process is gone."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import psutil

from services.standalone.embedded.process import ServerFailed, ServerMissing, wait_until

P = ParamSpec("P")
T = TypeVar("T")

START_TIMEOUT = 240.0
"""Seconds: a machine on which everything is killed and restarted at once is slow, and that is no failure."""
PAUSES = (5.0, 20.0)
"""Seconds before a download is tried again."""
_STARTS = 3

repeated: list[str] = []
"""What was done again because it failed, with the error; the end of the run shows it."""


def starting_again(server: Callable[P, AbstractContextManager[T]]) -> Callable[P, AbstractContextManager[T]]:
    """Decorate the context of a server: one that fails to start is tried again, with other ports and data."""

    @contextmanager
    @wraps(server)
    def running(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        with ExitStack() as stack:
            yield _started(stack, lambda: server(*args, **kwargs))

    return running


def _started(stack: ExitStack, server: Callable[[], AbstractContextManager[T]]) -> T:
    for _ in range(_STARTS - 1):
        try:
            return stack.enter_context(server())
        except (ServerFailed, TimeoutError) as exc:
            repeated.append(str(exc).strip())
    return stack.enter_context(server())


def downloading_again(download: Callable[P, T]) -> Callable[P, T]:
    """Decorate what fetches a program: in CI, where one failure would fail the run, it is tried again after a pause."""

    @wraps(download)
    def downloaded(*args: P.args, **kwargs: P.kwargs) -> T:
        for pause in PAUSES if os.environ.get("CI") == "true" else ():
            try:
                return download(*args, **kwargs)
            except ServerMissing as exc:
                repeated.append(str(exc).strip())
                time.sleep(pause)
        return download(*args, **kwargs)

    return downloaded


def ended(pid: int, timeout: float = 60.0) -> bool:
    """Return whether a process ends within `timeout` seconds; one that waits to be reaped by its parent has ended."""
    return wait_until(lambda: not _lives(pid), timeout)


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
