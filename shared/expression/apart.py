"""Evaluates expressions in a process of their own, where one may hang or exhaust the memory and harm nothing else.

Most expressions cannot: their result is about as large as the event, and they take microseconds. Those that can, by a
function such as `$pad(s, n)` with `n` from the data, or by a function of their own, are evaluated apart (`needed`): it
costs about 50 µs an event. The process has a limit of memory and of time; when it reaches one, it is replaced.
"""

import json
import os
import re
import select
import signal
import sys
import threading
import time
from typing import Any

from shared.errors import Malformed
from shared.expression import wire
from shared.expression.wire import Kind

MEMORY = 256 * 1024**2
"""Bytes that one evaluation may need."""

SECONDS = 4.0
"""For one evaluation. Within the process, jsonatapy stops after three seconds where it can."""

_START_SECONDS = 30.0
"""Until the process has started; a machine may be very busy."""

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|/\*.*?\*/', re.DOTALL)
_LIMITLESS = re.compile(
    r"function\s*\(|λ\s*\("  # may recurse, and may multiply its argument
    r"|\$(?:pad|replace|join|eval|formatInteger|distinct|shuffle)(?![\w])"  # a result or a time beyond its arguments
    r"|\$\$|\*\*|%\s*\.|\.\s*%"  # the root, all descendants or the parent for each item of a path
)
_CHUNK = 1 << 20


def needed(expression: str) -> bool:
    """Whether an expression may take far more memory or time than its input."""
    return _LIMITLESS.search(_QUOTED.sub(" ", expression)) is not None


class Timeout(Exception):
    """The evaluation reached its time limit."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text or f"the expression failed: D1012: no result within {SECONDS:g} s")


class _Process:
    """A process that evaluates, and the pipes to it."""

    def __init__(self) -> None:
        requests, self._requests = os.pipe()
        self._responses, responses = os.pipe()
        command = [sys.executable, "-m", "shared.expression.evaluator"]
        actions = [
            (os.POSIX_SPAWN_DUP2, requests, 0),
            (os.POSIX_SPAWN_DUP2, responses, 1),
            (os.POSIX_SPAWN_CLOSE, self._requests),
            (os.POSIX_SPAWN_CLOSE, self._responses),
        ]
        self.pid = os.posix_spawn(
            sys.executable, command, dict(os.environ), file_actions=actions, setsigmask=[], setsigdef=[signal.SIGTERM]
        )
        os.close(requests)
        os.close(responses)
        for end in (self._requests, self._responses):
            os.set_blocking(end, False)
        self.seconds = _START_SECONDS

    def ask(self, given: wire.Request) -> tuple[Kind, bytes]:
        """Return the response to a request.

        Raises:
            Timeout: there is none in time.
            EOFError: the process has ended.
        """
        deadline = time.monotonic() + self.seconds
        left = memoryview(wire.request(given))
        received = bytearray()
        poll = select.poll()
        poll.register(self._responses, select.POLLIN)
        poll.register(self._requests, select.POLLOUT)
        while (found := wire.parse_response(received)) is None:
            wait = deadline - time.monotonic()
            if wait <= 0:
                raise Timeout
            for end, _ in poll.poll(wait * 1000):
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
        self.seconds = SECONDS
        return found

    def end(self) -> int:
        """Kill the process; return how it ended."""
        os.close(self._requests)
        os.close(self._responses)
        os.kill(self.pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class _Evaluators(threading.local):
    """The process of each thread, started when it is needed."""

    process: _Process | None = None


_evaluators = _Evaluators()


def evaluate(expression: str, data: bytes | None, event: dict[str, Any] | None) -> bytes | None:
    """Return the result as JSON text, None where it is undefined; see `Jsonata.evaluate`.

    Raises:
        Timeout: it reached the time limit.
        Malformed: it fails, or takes too much memory.
    """
    given = wire.Request(expression.encode(), data, None if event is None else json.dumps(event).encode())
    try:
        kind, content = _asked(given)
    except EOFError:
        kind, content = _again(given)  # something else may have killed the process
    if kind is Kind.TIMED_OUT:
        raise Timeout(content.decode())
    if kind is Kind.FAILED:
        raise Malformed(content.decode())
    return content if kind is Kind.VALUE else None


def _asked(given: wire.Request) -> tuple[Kind, bytes]:
    """Ask the process of this thread; end it where it does not respond as it should."""
    process = _evaluators.process = _evaluators.process or _Process()
    try:
        return process.ask(given)
    except BaseException as exc:  # after an interruption, the next response would be that of this request
        _evaluators.process = None
        ended = process.end()
        if not isinstance(exc, EOFError):
            raise
        raise EOFError(ended) from exc


def _again(given: wire.Request) -> tuple[Kind, bytes]:
    try:
        return _asked(given)
    except EOFError as exc:
        raise Malformed(
            f"the expression failed: it takes more than {MEMORY >> 20} MiB of memory, or cannot be evaluated"
            f" (the evaluating process ended with {exc})"
        ) from exc


def close() -> None:
    """End the process of this thread."""
    process, _evaluators.process = _evaluators.process, None
    if process is not None:
        process.end()
