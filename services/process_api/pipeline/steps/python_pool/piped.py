"""Child processes that are written to and read from."""

import os
import signal
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from contextlib import suppress

_UNLIMITED = sys.maxsize // 2


async def start_piped(*command: str) -> Process:
    """Start a process with pipes to its standard input and from its standard output.

    Its output is received even while nothing reads it, however long it is. With a limit, asyncio stops there until
    something reads, and does not see that the pipe is closed: once a process is killed while it writes, `wait` would
    never return.

    Raises:
        OSError: it cannot be started.
    """
    return await create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=_UNLIMITED, start_new_session=True)


async def kill_piped(process: Process) -> int:
    """Kill a process of `start_piped`, unless it has ended, and return its exit status."""
    signal_piped(process)
    return await process.wait()


def signal_piped(process: Process) -> None:
    """Kill a process of `start_piped`, unless it has ended, without waiting for its end.

    What it has started is killed with it: a child that lives on holds the pipes open, and `wait` would wait for that.
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):  # it ended meanwhile
            os.killpg(process.pid, signal.SIGKILL)
