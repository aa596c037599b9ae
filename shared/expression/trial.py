"""Tries expressions in a separate process before the service runs them: there one may hang, or exhaust the memory.

JSONata can loop without end, and jsonatapy cannot always be stopped from within. This finds the expressions that do not
terminate whatever their input; an expression that does not terminate for some event has a time limit of its own.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence

SECONDS = 120.0
"""For all expressions that are tried together, which takes a tenth of a second; a machine may be very busy. An endless
computation is stopped long before, by its CPU time."""


def faults(expressions: Sequence[str], seconds: float = SECONDS) -> dict[str, str]:
    """Compile each expression, evaluate it on an undefined root and on an empty object, and return the faults.

    The faults are by expression. Blocks for a few seconds, at most `seconds`, for each expression that does not
    terminate.
    """
    found: dict[str, str] = {}
    waiting = list(dict.fromkeys(expressions))
    while waiting:
        verdicts, ending = _try(waiting, seconds)
        found.update({tried: fault for tried, fault in zip(waiting, verdicts, strict=False) if fault})
        if len(verdicts) < len(waiting):
            found[waiting[len(verdicts)]] = f"the expression does not terminate, or takes too much memory: {ending}"
        waiting = waiting[len(verdicts) + 1 :]
    return found


def _try(expressions: Sequence[str], seconds: float) -> tuple[list[str], str]:
    """Return the verdict on each expression that terminated, empty where it is valid; and what stopped the others."""
    command = [sys.executable, "-m", "shared.expression"]
    given = json.dumps(expressions).encode()
    try:
        run = subprocess.run(command, input=given, capture_output=True, timeout=seconds, check=False)  # noqa: S603 -- our own module
    except subprocess.TimeoutExpired as exc:
        return _lines(exc.stdout or b""), f"stopped after {seconds:g} s"
    if run.returncode == -signal.SIGXCPU:
        return _lines(run.stdout), "stopped at the limit of CPU time"
    last_line = run.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return _lines(run.stdout), f"exit status {run.returncode}, {last_line[:200]}"


def _lines(output: bytes) -> list[str]:
    return [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
