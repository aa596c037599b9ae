"""Evaluates expressions in a process of their own, where one may hang or exhaust the memory and harm nothing else.

Most expressions cannot: their result is about as large as the event, and they take microseconds. Those that can, by a
function such as `$pad(s, n)` with `n` from the data, or by a function of their own, are evaluated apart (`needed`): it
costs about 50 µs an event. So are those that may multiply their input by itself, on large events alone
(`needed_where_large`). The process has a limit of memory and of CPU time, which a busy machine does not change; when it
reaches one, it is replaced. An evaluation uses CPU: one that does not is stopped by the clock, after much longer.

Where the caller can be suspended (`shared.suspension.greenlets`), other tasks of the event loop run while an evaluation
takes long, and at most `_AT_ONCE` processes evaluate at once.
"""

import json
import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from shared.errors import Malformed, Unavailable
from shared.expression import wire
from shared.expression.wire import Kind
from shared.suspension import greenlets as suspension

MEMORY = 256 * 1024**2
"""Bytes that one evaluation may need."""

CPU_SECONDS = 3
"""CPU time of one evaluation, and up to a second more: the system counts whole seconds, and ends the process."""

SECONDS = 60.0
"""For one evaluation by the clock: only a process that is stopped or gets a fifteenth of a core reaches it."""

_BLOCKING_SECONDS = 10.0
"""The same where no other task of the event loop runs meanwhile."""

_START_SECONDS = 30.0
"""Until the process has started; a machine may be very busy."""

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|/\*.*?\*/', re.DOTALL)
_LIMITLESS = re.compile(
    r"function\s*\(|λ\s*\("  # may recurse, and may multiply its argument
    r"|\$(?:pad|replace|join|eval|formatInteger|distinct|shuffle)(?![\w])"  # a result or a time beyond its arguments
    r"|\$\$|\*\*|%\s*\.|\.\s*%"  # the root, all descendants or the parent for each item of a path
)
_MULTIPLYING = re.compile(
    r":=|@\s*\$|\$event\b"  # the same value for each item of a path
    r"|[(,]\s*\?\s*[,)]"  # the same argument for each item of `$map`
    r"|\$formatNumber(?!\w)"  # takes the square of the length of its picture
)
_SMALL = 2048
"""Bytes of which even the square fits into the memory."""

_CHUNK = 1 << 20

_AT_ONCE = 2
"""Evaluations at once, each with `MEMORY` of its own: one that takes seconds leaves the other process to the rest."""

_QUICK_SECONDS = 0.005
"""Nearly all evaluations are done by then: to wait for them by the event loop would take longer."""


def needed(expression: str) -> bool:
    """Whether an expression may take far more memory or time than its input."""
    return _LIMITLESS.search(_QUOTED.sub(" ", expression)) is not None


def needed_where_large(expression: str) -> bool:
    """Whether an expression may take the square of its input, such as `($id := id; lines.{'order': $id})`."""
    return _MULTIPLYING.search(_QUOTED.sub(" ", expression)) is not None


def is_large(data: bytes | None, event: dict[str, Any] | None) -> bool:
    """Whether the square of an input does not fit into the memory."""
    size = len(data or b"")
    if event is not None:
        size += sum(len(value) for value in event.values() if isinstance(value, str))
    return size > _SMALL


class Timeout(Exception):
    """The evaluation reached its time limit."""


def _no_result(limit: str) -> Timeout:
    return Timeout(f"the expression failed: D1012: no result within {limit}")


class _Process:
    """A process that evaluates, and the pipes to it."""

    def __init__(self) -> None:
        """Start it; `ready` says when it has started. Raises `OSError`."""
        ends: list[int] = []
        try:
            ends += os.pipe()
            ends += os.pipe()
            requests, self._requests, self._responses, responses = ends
            self.pid = _spawned(requests, responses, [self._requests, self._responses])
        except OSError:
            for end in ends:
                os.close(end)
            raise
        os.close(requests)
        os.close(responses)
        for end in (self._requests, self._responses):
            os.set_blocking(end, False)
        self.seconds = SECONDS

    def ready(self) -> None:
        """Wait until it has started. Raises as `ask` does."""
        self._exchange(b"", _START_SECONDS)

    def ask(self, given: wire.Request) -> tuple[Kind, bytes]:
        """Return the response to a request.

        Raises:
            Timeout: there is none in time.
            EOFError: the process has ended.
        """
        seconds = self.seconds if suspension.can_suspend() else min(self.seconds, _BLOCKING_SECONDS)
        return self._exchange(wire.request(given), seconds)

    def _exchange(self, message: bytes, seconds: float) -> tuple[Kind, bytes]:
        began = time.monotonic()
        deadline, pause_at = began + seconds, began + _QUICK_SECONDS if suspension.can_suspend() else None
        left = memoryview(message)
        received = bytearray()
        poll = select.poll()
        poll.register(self._responses, select.POLLIN)
        if left:
            poll.register(self._requests, select.POLLOUT)
        while (found := wire.parse_response(received)) is None:
            now = time.monotonic()
            if now >= deadline:
                raise _no_result(f"{seconds:g} s")
            if pause_at is not None and now >= pause_at:
                self._pause(deadline - now, writes=bool(left))
            for end, _ in poll.poll(((deadline if pause_at is None else max(now, pause_at)) - now) * 1000):
                if end == self._responses:
                    piece = os.read(end, _CHUNK)
                    if not piece:
                        raise EOFError
                    received += piece
                    continue
                try:
                    left = left[os.write(end, left[:_CHUNK]) :]
                except BrokenPipeError as exc:  # pragma: no cover -- or the end of the responses is seen first
                    raise EOFError from exc
                if not left:
                    poll.unregister(end)
        return found

    def _pause(self, seconds: float, *, writes: bool) -> None:
        """Let other tasks run until the process has read or written, for so many seconds at most."""
        # Not above: the process that evaluates imports this module, and needs no event loop.
        from shared.suspension.pausing import ready  # noqa: PLC0415

        suspension.wait(ready(self._responses, self._requests if writes else None, seconds))

    def end(self) -> int:
        """Kill the process; return how it ended."""
        os.close(self._requests)
        os.close(self._responses)
        os.kill(self.pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _spawned(requests: int, responses: int, others: Sequence[int]) -> int:
    """Start a process that evaluates, between two pipes and without the `others`; return its id. Raises `OSError`."""
    command = [sys.executable, "-m", "shared.expression.evaluator", str(CPU_SECONDS)]
    actions = [
        (os.POSIX_SPAWN_DUP2, requests, 0),
        (os.POSIX_SPAWN_DUP2, responses, 1),
        *((os.POSIX_SPAWN_CLOSE, end) for end in others),
    ]
    return os.posix_spawn(
        sys.executable, command, dict(os.environ), file_actions=actions, setsigmask=[], setsigdef=[signal.SIGTERM]
    )


class _Evaluators(threading.local):
    """The processes of each thread, started when they are needed."""

    def __init__(self) -> None:
        self.idle: list[_Process] = []


_evaluators = _Evaluators()


def evaluate(expression: str, data: bytes | None, event: dict[str, Any] | None) -> bytes | None:
    """Return the result as JSON text, None where it is undefined; see `Jsonata.evaluate`.

    Raises:
        Timeout: it reached the time limit.
        Malformed: it fails, or takes too much memory.
        Unavailable: no process can be started now.
    """
    given = wire.Request(expression.encode(), data, None if event is None else json.dumps(event).encode())
    with _slot():
        try:
            kind, content = _asked(given)
        except EOFError:
            kind, content = _again(given)  # something else may have killed the process
    if kind is Kind.TIMED_OUT:
        raise Timeout(content.decode())
    if kind is Kind.FAILED:
        raise Malformed(content.decode())
    return content if kind is Kind.VALUE else None


@contextmanager
def _slot() -> Iterator[None]:
    """Wait until fewer than `_AT_ONCE` processes evaluate; where that would block, use a further one."""
    if not suspension.can_suspend():
        yield
        return
    from shared.suspension.pausing import slots  # noqa: PLC0415 -- as above

    free = slots(_AT_ONCE)
    suspension.wait(free.acquire())
    try:
        yield
    finally:
        free.release()


def _asked(given: wire.Request) -> tuple[Kind, bytes]:
    """Ask a process of this thread; end it where it does not respond as it should."""
    process = _evaluators.idle.pop() if _evaluators.idle else _started()
    try:
        found = process.ask(given)
    except BaseException as exc:  # after an interruption, the next response would be that of this request
        ended = process.end()
        if not isinstance(exc, EOFError):
            raise
        if ended == -signal.SIGXCPU:
            raise _no_result(f"{CPU_SECONDS} s of CPU time") from exc
        raise EOFError(ended) from exc
    _evaluators.idle.append(process)
    return found


def _started() -> _Process:
    """Return a new process that is ready: where there is none, the event is not to blame."""
    failure = "expressions cannot be evaluated now: their process does not start"
    try:
        process = _Process()
    except OSError as exc:
        raise Unavailable(f"{failure}: {exc}") from exc
    try:
        process.ready()
    except BaseException as exc:
        ended = process.end()
        if isinstance(exc, EOFError | Timeout):
            raise Unavailable(f"{failure}: it ended with {ended}") from exc
        raise
    return process


def _again(given: wire.Request) -> tuple[Kind, bytes]:
    close()  # what has killed one may have killed the others
    try:
        return _asked(given)
    except EOFError as exc:
        raise Malformed(
            f"the expression failed: it takes more than {MEMORY >> 20} MiB of memory, or cannot be evaluated"
            f" (the evaluating process ended with {exc})"
        ) from exc


def close() -> None:
    """End the processes of this thread that evaluate nothing."""
    while _evaluators.idle:
        _evaluators.idle.pop().end()
