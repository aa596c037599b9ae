"""Failpoints: named places where a test kills the process, to check that a crash there loses nothing.

`TRELAY_FAILPOINT=name` kills the process the first time it reaches that place, `name:3` the third time. The signal is
SIGKILL, so that no cleanup runs. Unset, reaching a place costs one cached lookup.
"""

import functools
import os
import signal
from dataclasses import dataclass

VARIABLE = "TRELAY_FAILPOINT"


@dataclass(slots=True)
class Failpoint:
    """A place, and how many more times it must be reached until the process is killed."""

    name: str
    remaining: int

    def reached(self, name: str) -> bool:
        """Count this visit, and return whether the process is to be killed now."""
        if name == self.name:
            self.remaining -= 1
        return self.remaining == 0


def parse(text: str) -> Failpoint | None:
    """Read the value of the variable, `name` or `name:nth`; None for an empty one."""
    name, _, nth = text.partition(":")
    return Failpoint(name, int(nth or "1")) if name else None


@functools.cache
def _armed() -> Failpoint | None:
    return parse(os.environ.get(VARIABLE, ""))


def reach(name: str) -> None:
    """Kill the process here if the environment names this place."""
    armed = _armed()
    if armed is not None and armed.reached(name):
        os.kill(os.getpid(), signal.SIGKILL)
