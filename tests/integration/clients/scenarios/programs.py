"""Programs that subscribe with one of the client libraries, and say what happens in lines of JSON."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment, Replica
from tests.servers.websocket_proxy import WebSocketProxy, websocket_proxy

Line = dict[str, Any]
Start = Callable[..., AbstractAsyncContextManager["Program"]]
_HERE = Path(__file__).parent


PATIENT = {"connections": {"probe_timeout": 8, "lease_seconds": 120}}
"""Long enough that a busy machine does not make a program look dead."""


class Program:
    """A running program."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[Line] = []
        """All that it has said."""

    async def until(self, key: str) -> Line:
        """Return the next line with this key."""
        while key not in (line := await self._next()):
            pass
        return line

    async def until_control(self, kind: str) -> Line:
        """Return the data of the next control event of this type."""
        while (line := await self.until("control"))["control"] != kind:
            pass
        data: Line = line["data"]
        return data

    async def numbers(self, count: int) -> list[int]:
        """Return the numbers of the next events."""
        return [(await self.until("number"))["number"] for _ in range(count)]

    def said(self, key: str) -> list[Any]:
        """Return all that was said under a key so far."""
        return [line[key] for line in self.lines if key in line]

    async def _next(self) -> Line:
        assert self._process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            text = await self._process.stdout.readline()
        assert text, f"the program has ended; it has said {self.lines}"
        line: Line = json.loads(text)
        self.lines.append(line)
        return line


def python(**given: Any) -> AbstractAsyncContextManager[Program]:
    """Run a program with the Python client."""
    return _running([sys.executable, str(_HERE / "subject.py"), json.dumps(given)])


def javascript(library: Path) -> Start:
    """Return what runs a program with the JavaScript client of this folder."""

    def start(**given: Any) -> AbstractAsyncContextManager[Program]:
        program = [str(_HERE / "subject.js"), str(library / "index.js"), json.dumps(given)]
        return _running(["node", "--experimental-websocket", "--no-warnings", *program])

    return start


@asynccontextmanager
async def _running(command: list[str]) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, limit=2**20, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def served(
    deployment: Deployment, experience: dict[str, Any] | None = None
) -> AsyncIterator[tuple[Replica, WebSocketProxy]]:
    """Run a replica, and a proxy in front of it."""
    async with deployment.replica({**PATIENT, **(experience or {})}) as replica, websocket_proxy(replica.url) as line:
        yield replica, line
