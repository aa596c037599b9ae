"""Processes that run one function: started when they are needed, killed when a call takes too long."""

import asyncio
import json
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.python_pool.frames import HEAD, Kind, frame
from services.process_api.pipeline.steps.python_pool.piped import kill_piped, signal_piped, start_piped
from shared.errors import Unavailable
from shared.runtime.tasks import together

_WORKER = "services.process_api.pipeline.steps.python_pool.worker"

_START_SECONDS = 60.0
"""Until a process has imported the function; a machine may be very busy."""


class Pool:
    """The processes of one step."""

    def __init__(self, function: str, settings: Mapping[str, Any], processes: int, context: StepContext) -> None:
        self._function = function
        self._command = [sys.executable, "-m", _WORKER, function, json.dumps(settings)]
        self._slots = asyncio.Semaphore(processes)
        self._idle: list[Process] = []
        self._all: set[Process] = set()
        self._closed = False
        context.closing.push_async_callback(self.close)

    async def call(self, content: bytes, timeout: float) -> tuple[Kind, bytes]:
        """Call the function in a process that is idle, once there is one; return its answer.

        A process may end for another reason than the call: what earlier calls have left, or somebody who is short of
        memory. So a call whose process ends is repeated in a new one, unless that was new.

        Raises:
            TimeoutError: there is none within `timeout` seconds; the process is killed.
            EOFError: the process ended.
            Unavailable: no process can be started, or the pool is closed.
        """
        async with self._slots:
            if self._idle:
                with suppress(EOFError):
                    return await self._called(self._idle.pop(), content, timeout)
            return await self._called(await self._started(), content, timeout)

    async def _called(self, process: Process, content: bytes, timeout: float) -> tuple[Kind, bytes]:
        try:
            async with asyncio.timeout(timeout):
                answer = await _asked(process, content)
        except EOFError as exc:
            status = await self._end(process)
            if self._closed:
                raise self._unavailable from exc
            raise EOFError(f"exit status {status}") from exc
        except BaseException:  # it is killed in any case: its next answer would be that of this call
            await self._end(process)
            raise
        self._idle.append(process)
        return answer

    async def close(self) -> None:
        """End the processes."""
        self._closed = True
        self._idle.clear()
        # The signals first: a cancelled call leaves none behind.
        for process in self._all:
            signal_piped(process)
        await together(*(self._end(process) for process in list(self._all)))

    @property
    def _unavailable(self) -> Unavailable:
        return Unavailable(f"{self._function}: its processes have ended with its pipeline")

    async def _started(self) -> Process:
        if self._closed:
            raise self._unavailable
        try:
            process = await start_piped(*self._command)
        except OSError as exc:
            raise Unavailable(f"{self._function}: no process can be started: {exc}") from exc
        self._all.add(process)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await _received(process)
        except (TimeoutError, EOFError) as exc:
            status = await self._end(process)
            raise Unavailable(f"{self._function}: its process did not start: exit status {status}") from exc
        except BaseException:
            await self._end(process)
            raise
        return process

    async def _end(self, process: Process) -> int:
        self._all.discard(process)
        return await kill_piped(process)


async def _asked(process: Process, content: bytes) -> tuple[Kind, bytes]:
    assert process.stdin is not None, "a pipe"
    try:
        process.stdin.write(frame(Kind.CALL, content))
        await process.stdin.drain()
    except ConnectionError as exc:
        raise EOFError from exc
    return await _received(process)


async def _received(process: Process) -> tuple[Kind, bytes]:
    assert process.stdout is not None, "a pipe"
    # An incomplete read is an EOFError.
    kind, size = HEAD.unpack(await process.stdout.readexactly(HEAD.size))
    return Kind(kind), await process.stdout.readexactly(size)
