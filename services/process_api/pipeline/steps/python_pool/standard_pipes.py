"""The pipes of a process of `start_piped`, as that process sees them: kept away from the code of users that it runs."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

_PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""


@contextmanager
def standard_pipes() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Take over standard input and output; yield the streams from and to the parent.

    The code of users and what it starts find an empty standard input, and their output goes to standard error. A child
    that they fork has no part in the streams: what it wrote would be taken for the answer to the next call. On Linux
    the process is killed when the one that started it ends: code that never returns would run on.
    """
    _end_with_parent()
    with os.fdopen(os.dup(0), "rb") as given, os.fdopen(os.dup(1), "wb") as answers:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        sys.stdout = sys.stderr

        def leave() -> None:
            for stream in (given, answers):
                os.dup2(nothing, stream.fileno())

        os.register_at_fork(after_in_child=leave)
        yield given, answers


def _end_with_parent() -> None:
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call
            os.kill(os.getpid(), signal.SIGKILL)
