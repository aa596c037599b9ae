"""The process of the shadows of a replica, seen from the replica."""

import asyncio
import contextlib
import pickle
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from typing import Self

from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.pipeline.steps.python_pool.piped import kill_piped, start_piped
from services.process_api.shadow.messages import HEAD, Given, Verdict, framed, pack, unpack_verdict
from shared.errors import Unavailable

_RUNNER = "services.process_api.shadow.runner"

_START_SECONDS = 60.0
"""Until a process has built the pipelines; a machine may be very busy."""


_END_SECONDS = 2.0
"""Until a process that has closed its pipes has ended, so that its exit status is its own."""


class ShadowProcess:
    """A process that runs."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._closed = False
        """Whether it has closed its end of the pipes: it is ending by itself."""

    @classmethod
    async def started(cls, options: Mapping[str, PipelineOptions]) -> Self:
        """Start a process with these pipelines.

        Raises:
            Unavailable: it cannot be started, or cannot build the pipelines.
        """
        try:
            made = cls(await start_piped(sys.executable, "-m", _RUNNER))
        except OSError as exc:
            raise Unavailable(f"no process can be started: {exc}") from exc
        try:
            async with asyncio.timeout(_START_SECONDS):
                await made._send(framed(pickle.dumps(dict(options))))
                await made._received()
        except BaseException as exc:
            status = await made.end()
            if isinstance(exc, TimeoutError | EOFError):
                raise Unavailable(f"the process does not start: exit status {status}") from exc
            raise
        return made

    async def judge(self, given: Given, timeout: float) -> Verdict:
        """Return what the shadow makes of an event. After an error the process has to be ended.

        Raises:
            TimeoutError: there is no answer within `timeout` seconds.
            EOFError: the process has ended.
        """
        async with asyncio.timeout(timeout):
            await self._send(pack(given))
            return unpack_verdict(await self._received())

    async def end(self) -> int:
        """Kill the process, unless it ends by itself; return its exit status."""
        if self._closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await self._process.wait()
        return await kill_piped(self._process)

    async def _send(self, message: bytes) -> None:
        assert self._process.stdin is not None, "a pipe"
        try:
            self._process.stdin.write(message)
            await self._process.stdin.drain()
        except ConnectionError as exc:
            self._closed = True
            raise EOFError from exc

    async def _received(self) -> bytes:
        assert self._process.stdout is not None, "a pipe"
        try:
            (size,) = HEAD.unpack(await self._process.stdout.readexactly(HEAD.size))
            return await self._process.stdout.readexactly(size)
        except asyncio.IncompleteReadError:  # an EOFError
            self._closed = True
            raise
