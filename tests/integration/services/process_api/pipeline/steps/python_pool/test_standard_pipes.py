"""Standard input and output of a process that runs the code of users."""

import asyncio
import sys

from services.process_api.pipeline.steps.python_pool.piped import kill_piped, start_piped

PROGRAM = """
import os, subprocess, sys
from services.process_api.pipeline.steps.python_pool.standard_pipes import standard_pipes

with standard_pipes() as (given, answers):
    print("of the code of a user")
    read = subprocess.run(["cat"], capture_output=True, check=True).stdout + sys.stdin.read().encode()
    child = os.fork()
    if child == 0:
        answers.write(b"of a child")
        answers.flush()
        os._exit(len(given.read()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    answers.write(given.readline().upper() + read)
"""


async def test_only_the_process_itself_has_the_pipes() -> None:
    process = await start_piped(sys.executable, "-c", PROGRAM)
    try:
        async with asyncio.timeout(240):
            output, _ = await process.communicate(b"abc\n")
    finally:
        await kill_piped(process)
    assert (output, process.returncode) == (b"ABC\n", 0)
