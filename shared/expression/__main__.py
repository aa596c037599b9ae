"""The process that `trial` starts: reads a JSON list of expressions, and writes the verdict on each as it goes."""

import json
import sys

from shared.errors import Malformed
from shared.expression.jsonata import EvaluationTimeout, Jsonata
from shared.expression.process_limits import limit_cpu, limit_memory

_MEMORY = 256 * 1024**2
"""Bytes that the trial may add to the address space."""
_TIME_LIMIT_MS = 500
_CPU_SECONDS = 3
"""For one expression, in CPU time: a busy machine does not change the verdict."""


def fault(expression: str) -> str:
    """Return the fault of an expression, the empty text where it is valid."""
    try:
        compiled = Jsonata(expression, _TIME_LIMIT_MS, apart=False)
    except ValueError as exc:
        return str(exc)
    for data in (None, b"{}"):
        try:
            compiled.evaluate(data, {})
        except EvaluationTimeout as exc:
            return str(exc)
        except Malformed:
            continue  # it may fail for want of data
    return ""


def main() -> None:
    """Try the expressions on standard input."""
    limit_memory(_MEMORY)
    for expression in json.load(sys.stdin):
        limit_cpu(_CPU_SECONDS)
        sys.stdout.write(json.dumps(fault(expression)) + "\n")
        sys.stdout.flush()


main()
