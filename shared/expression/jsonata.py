"""JSONata by jsonatapy, from JSON text to JSON text. The only module that uses that library.

A compiled expression may be used only in the thread that compiled it. The time limit is checked between the steps of an
evaluation, so that one long step exceeds it; `trial` therefore tries new expressions in another process, and those that
may take far more memory or time than their input are evaluated `apart`.
"""

import re
from typing import Any

import jsonatapy

from shared.errors import Malformed
from shared.expression import apart as evaluations
from shared.expression.exact import inexact
from shared.suspension import greenlets as suspension

TIME_LIMIT_MS = 3000
"""An event takes microseconds. The limit is so long that a paused process does not reach it twice."""

_SEQUENCE_LIMIT = 1_000_000
"""Items of one sequence: `[1..1e9]` must not exhaust the memory."""

_TIMED_OUT = "D1012"
_OUT_OF_RANGE = "D1001"
_NOT_FINITE = "D1001: it gives a number that is not finite, as a division by zero does; JSON has no such number"
_COMPUTES = re.compile(r"[-+*/%]|\$(?!event\b)\w")
"""What may give a number that is not finite."""
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`|/\*.*?\*/', re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.$])[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?")


class EvaluationTimeout(Malformed):
    """An evaluation reached its time limit."""


class Jsonata:
    """One compiled expression."""

    def __init__(self, expression: str, time_limit_ms: int | None = None, *, apart: bool = True) -> None:
        """Compile it; the time limit of an evaluation is `TIME_LIMIT_MS` by default.

        `apart` permits to evaluate it in another process, where that is needed, and the time limit is the default.

        Raises:
            ValueError: it does not compile, or contains a number that JSONata would alter.
        """
        for literal in _NUMBER.findall(_QUOTED.sub(" ", expression)):
            if inexact(literal.encode()) is not None:
                raise ValueError(f"JSONata's numbers are doubles, which cannot hold {literal[:40]}")
        self._written = expression
        self._computes = _COMPUTES.search(_QUOTED.sub(" ", expression)) is not None
        self._as_text: jsonatapy.JsonataExpression | None = None
        apart = apart and time_limit_ms is None
        self._is_apart = apart and evaluations.needed(expression)
        self._is_apart_where_large = apart and not self._is_apart and evaluations.needed_where_large(expression)
        try:
            self._limit = TIME_LIMIT_MS if time_limit_ms is None else time_limit_ms
            self._compiled = jsonatapy.compile(expression, timeout=self._limit, max_sequence_length=_SEQUENCE_LIMIT)
        except BaseException as exc:  # a panic of its Rust code is not an `Exception`
            if not _is_its_own(exc):
                raise  # pragma: no cover -- an interruption from outside, such as Ctrl-C
            raise ValueError(f"the expression does not compile: {exc}") from exc

    def evaluate(self, data: bytes | None, event: dict[str, Any] | None) -> bytes | None:
        """Return the result as JSON text, None where it is undefined.

        `data` is the root: JSON text in UTF-8 whose numbers JSONata can hold (`exact.inexact`), or None where it is
        undefined. `event` is the value of `$event`.

        Raises:
            Malformed: the evaluation fails.
            EvaluationTimeout: it reached the time limit twice.
            Unavailable: it has to be evaluated apart, and no process can be started.
        """
        if self._is_apart or (self._is_apart_where_large and evaluations.is_large(data, event)):
            try:
                return evaluations.evaluate(self._written, data, event)
            except evaluations.Timeout as exc:
                raise EvaluationTimeout(str(exc)) from exc
        root = None if data is None else str(data, "utf-8")
        bindings = None if event is None else {"event": event}
        try:
            found = self._compiled.evaluate_json_or_none(root, bindings)
        except BaseException as exc:  # as above
            if not _is_its_own(exc):
                raise  # pragma: no cover -- as above
            if not str(exc).startswith(_TIMED_OUT):
                raise Malformed(f"the expression failed: {exc}") from exc
            found = self._again(root, bindings)
        if found is not None and self._computes and "null" in found:
            self._check_finite(root, bindings)
        suspension.breathe()  # many large events may be evaluated in a row
        return None if found is None else found.encode()

    def _check_finite(self, root: str | None, bindings: dict[str, Any] | None) -> None:
        """Check a result with a null: jsonatapy writes a number that is not finite like that, but `$string` fails.

        Raises:
            Malformed: it contains such a number, or cannot be checked.
        """
        if self._as_text is None:
            written = f"$string([({self._written}\n)])"
            self._as_text = jsonatapy.compile(written, timeout=self._limit, max_sequence_length=_SEQUENCE_LIMIT)
        try:
            self._as_text.evaluate_json_or_none(root, bindings)
        except BaseException as exc:  # as above
            if not _is_its_own(exc):
                raise  # pragma: no cover -- as above
            reason = _NOT_FINITE if str(exc).startswith(_OUT_OF_RANGE) else str(exc)
            raise Malformed(f"the expression failed: {reason}") from exc

    def _again(self, root: str | None, bindings: dict[str, Any] | None) -> str | None:
        """Evaluate again after a time-out: the machine may have been paused meanwhile."""
        try:
            found: str | None = self._compiled.evaluate_json_or_none(root, bindings)
        except ValueError as exc:
            raise EvaluationTimeout(f"the expression failed: {exc}") from exc
        return found  # pragma: no cover -- only after the machine was paused


def _is_its_own(error: BaseException) -> bool:
    return isinstance(error, ValueError) or type(error).__name__ == "PanicException"
