"""Named places where a process can be made to die, so that a test can ask what a crash there loses.

`TRELAY_FAILPOINT=name` kills the process the first time it reaches that place, `name:3` the third time. SIGKILL, so
that nothing is tidied up. Unset, reaching a place costs a look at a cached None.
"""

import functools
import os
import signal
from dataclasses import dataclass

VARIABLE = "TRELAY_FAILPOINT"


@dataclass(slots=True)
class Failpoint:
    """One place to die at, and how many more times it must be reached for that."""

    name: str
    remaining: int

    def reached(self, name: str) -> bool:
        """Count, and return whether the time has come."""
        if name == self.name:
            self.remaining -= 1
        return self.remaining == 0


def parse(text: str) -> Failpoint | None:
    """Read the variable's value, `name` or `name:nth`; nothing for the empty text."""
    name, _, nth = text.partition(":")
    return Failpoint(name, int(nth or "1")) if name else None


@functools.cache
def _armed() -> Failpoint | None:
    return parse(os.environ.get(VARIABLE, ""))


def reach(name: str) -> None:
    """Die here if the environment says so."""
    armed = _armed()
    if armed is not None and armed.reached(name):
        os.kill(os.getpid(), signal.SIGKILL)
