"""An evaluation apart that takes as long as a test needs."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from shared.expression import apart
from shared.expression.jsonata import Jsonata

APART = "$pad(s, 2)"
"""An expression that is evaluated apart, because its result may be far longer than its input."""


@contextmanager
def stopped_evaluator() -> Iterator[apart._Process]:
    """Provide the process that evaluates next, which is stopped by SIGSTOP."""
    apart.close()
    Jsonata("$pad('b', 2)").evaluate(None, None)
    (found,) = apart._evaluators.idle
    found.seconds = 240.0
    os.kill(found.pid, signal.SIGSTOP)
    try:
        yield found
    finally:
        apart.close()
