"""Tries expressions in a process of their own before the service runs them: there one may hang, or take all memory.

JSONata can loop for ever, and jsonatapy cannot always be stopped from within. What is found so are the expressions
that run away whatever they are given; what an event makes of one is seen only with that event, and has its own limit.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence

SECONDS = 120.0
"""For all expressions that are tried at once, which takes a tenth of a second in all; a machine may be very busy. One
that computes without end is stopped long before, by how much it computes."""


def faults(expressions: Sequence[str], seconds: float = SECONDS) -> dict[str, str]:
    """Compile each expression, evaluate it on nothing and on an empty object, and return what is wrong, by expression.

    Blocks for a few seconds for each expression that runs away, and never for longer than `seconds` for each.
    """
    found: dict[str, str] = {}
    waiting = list(dict.fromkeys(expressions))
    while waiting:
        said, ending = _try(waiting, seconds)
        found.update({tried: fault for tried, fault in zip(waiting, said, strict=False) if fault})
        if len(said) < len(waiting):
            found[waiting[len(said)]] = f"the expression does not come to an end, or takes too much memory: {ending}"
        waiting = waiting[len(said) + 1 :]
    return found


def _try(expressions: Sequence[str], seconds: float) -> tuple[list[str], str]:
    """Return what is wrong with each expression that came to an end, nothing being the empty text; and what stopped."""
    command = [sys.executable, "-m", "services.process_api.pipeline.expression"]
    asked = json.dumps(expressions).encode()
    try:
        run = subprocess.run(command, input=asked, capture_output=True, timeout=seconds, check=False)  # noqa: S603 -- our own module
    except subprocess.TimeoutExpired as exc:
        return _lines(exc.stdout or b""), f"stopped after {seconds:g} s"
    if run.returncode == -signal.SIGXCPU:
        return _lines(run.stdout), "stopped after seconds of computing"
    last_words = run.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return _lines(run.stdout), f"exit status {run.returncode}, {last_words[:200]}"


def _lines(output: bytes) -> list[str]:
    return [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
