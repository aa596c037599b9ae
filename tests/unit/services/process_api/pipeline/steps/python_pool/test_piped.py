import asyncio
import sys

import pytest

from services.process_api.pipeline.steps.python_pool.piped import kill_piped, start_piped

MEGABYTE = 1024 * 1024


async def test_what_is_written_comes_back() -> None:
    process = await start_piped(sys.executable, "-c", "import sys; sys.stdout.write(sys.stdin.read().upper())")
    async with asyncio.timeout(60):
        output, _ = await process.communicate(b"abc")
        assert output == b"ABC"
    assert process.returncode == 0


async def test_the_end_of_a_killed_process_is_seen_while_nothing_reads_what_it_has_written() -> None:
    program = f"import sys; sys.stdout.buffer.write(bytes({MEGABYTE})); sys.stdout.flush(); sys.stdin.read()"
    process = await start_piped(sys.executable, "-c", program)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while len(process.stdout._buffer) < MEGABYTE:  # type: ignore[attr-defined] # not in the stubs
                await asyncio.sleep(0.001)
            assert await kill_piped(process) == -9
    finally:
        await kill_piped(process)


async def test_what_a_process_has_started_is_killed_with_it() -> None:
    """The child holds the pipes, and would live on."""
    program = "import os, time\nif os.fork(): print('started', flush=True)\ntime.sleep(600)"
    process = await start_piped(sys.executable, "-c", program)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"started\n"
            assert await kill_piped(process) == -9
            assert await process.stdout.read() == b"", "the child has closed its end"
    finally:
        await kill_piped(process)


async def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        await start_piped("/nowhere/at/all")
