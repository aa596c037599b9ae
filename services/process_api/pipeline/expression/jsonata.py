"""JSONata by jsonatapy, from JSON text to JSON text: the one home of that library.

A compiled expression belongs to the thread that compiled it. The time limit is looked at between the steps of an
evaluation only, so that one long step exceeds it; `trial` therefore tries new expressions in another process.
"""

import re
from typing import Any

import jsonatapy

from services.process_api.pipeline.expression.exact import inexact
from shared.errors import Malformed

TIME_LIMIT_MS = 3000
"""An event takes microseconds. So long a limit that a process that was paused meanwhile does not hit it twice."""

_SEQUENCE_LIMIT = 1_000_000
"""Items of one sequence: `[1..1e9]` must not fill the memory."""

_TIMED_OUT = "D1012"
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`|/\*.*?\*/', re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.$])[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?")


class TooSlow(Malformed):
    """An evaluation was broken off at its time limit."""


class Jsonata:
    """One compiled expression."""

    def __init__(self, expression: str, time_limit_ms: int = TIME_LIMIT_MS) -> None:
        """Compile it.

        Raises:
            ValueError: it does not compile, or holds a number that JSONata would alter.
        """
        for literal in _NUMBER.findall(_QUOTED.sub(" ", expression)):
            if inexact(literal.encode()) is not None:
                raise ValueError(f"JSONata's numbers are doubles, and none is {literal[:40]}")
        try:
            self._compiled = jsonatapy.compile(expression, timeout=time_limit_ms, max_sequence_length=_SEQUENCE_LIMIT)
        except BaseException as exc:  # a panic of its Rust is no `Exception`
            if not _is_its_own(exc):
                raise
            raise ValueError(f"the expression does not compile: {exc}") from exc

    def evaluate(self, data: bytes | None, event: dict[str, Any] | None) -> bytes | None:
        """Return the result's JSON text, None where JSONata's is undefined.

        `data` is the root, a JSON text in UTF-8 whose numbers JSONata holds (see `exact.inexact`), or None for none;
        `event` is what the expression knows as `$event`.

        Raises:
            Malformed: the evaluation failed.
            TooSlow: it took too long, twice.
        """
        root = None if data is None else str(data, "utf-8")
        bindings = None if event is None else {"event": event}
        try:
            found = self._compiled.evaluate_json_or_none(root, bindings)
        except BaseException as exc:  # as above
            if not _is_its_own(exc):
                raise
            if not str(exc).startswith(_TIMED_OUT):
                raise Malformed(f"the expression failed: {exc}") from exc
            found = self._again(root, bindings)
        return None if found is None else found.encode()

    def _again(self, root: str | None, bindings: dict[str, Any] | None) -> str | None:
        """Evaluate after a time-out: the machine may have been paused, but what runs away does so again."""
        try:
            found: str | None = self._compiled.evaluate_json_or_none(root, bindings)
        except ValueError as exc:
            raise TooSlow(f"the expression failed: {exc}") from exc
        return found


def _is_its_own(error: BaseException) -> bool:
    return isinstance(error, ValueError) or type(error).__name__ == "PanicException"
