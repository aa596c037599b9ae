"""Child processes that are written to and read from."""

import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec

_UNLIMITED = sys.maxsize // 2


async def start_piped(*command: str) -> Process:
    """Start a process with pipes to its standard input and from its standard output.

    Its output is received even while nothing reads it, however long it is. With a limit, asyncio stops there until
    something reads, and does not see that the pipe is closed: once a process is killed while it writes, `wait` would
    never return.

    Raises:
        OSError: it cannot be started.
    """
    return await create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=_UNLIMITED)
