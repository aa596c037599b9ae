"""The programs in docs/subscribers-java-go.md receive each event once, over a line that is cut."""

import asyncio
import json
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from services.standalone.embedded.process import ServerMissing
from tests.integration.clients.sent import line_to
from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment
from tests.servers.missing import skipping_without

PAGE = Path(__file__).parents[3] / "docs" / "subscribers-java-go.md"
WEBSOCKET = "github.com/coder/websocket@v1.8.14"
_BUILD = 240.0

pytestmark = pytest.mark.timeout(400)


def program_of(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return str(found)


def tool(name: str) -> str:
    found = which(name)
    if found is None:
        raise ServerMissing(f"{name} is not installed")
    return found


def built(language: str, folder: Path) -> list[str]:
    """Build the program of the page, and return its command.

    Raises:
        ServerMissing: there is no compiler, or no module proxy.
    """
    if language == "java":
        (folder / "Subscriber.java").write_text(program_of("java"))
        _run([tool("javac"), "-Xlint:all", "-Werror", "-d", str(folder), str(folder / "Subscriber.java")], folder)
        return [tool("java"), "-Xmx64m", "-cp", str(folder), "Subscriber"]
    (folder / "main.go").write_text(program_of("go"))
    go = tool("go")
    _run([go, "mod", "init", "subscriber"], folder)
    fetched = subprocess.run(
        [go, "get", WEBSOCKET], cwd=folder, capture_output=True, text=True, timeout=_BUILD, check=False
    )
    if fetched.returncode:
        raise ServerMissing(f"go get: {fetched.stderr.strip()[-300:]}")
    _run([go, "vet", "."], folder)
    _run([go, "build", "-o", "subscriber", "."], folder)
    return [str(folder / "subscriber")]


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_BUILD, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Lines:
    """What a program prints."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self.events: list[int] = []

    async def connected(self) -> None:
        while (await self._next())["type"] != "trelay.connected":
            pass

    async def reach(self, number: int) -> None:
        while not self.events or self.events[-1] < number:
            event = await self._next()
            assert event["type"] != "trelay.gap", event
            if event["source"] != "/trelay":
                self.events.append(event["data"]["number"])

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(TIMEOUT):
            line = await self._stream.readline()
        assert line, "the program has ended"
        found: dict[str, Any] = json.loads(line)
        return found


# Go's compiler takes half a minute where nothing is cached.
@pytest.mark.parametrize("language", ["java", pytest.param("go", marks=pytest.mark.chaos)])
async def test_each_event_comes_once(
    deployment: Deployment,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    language: str,
) -> None:
    with skipping_without(language, pytestconfig):
        command = await asyncio.to_thread(built, language, tmp_path)
    async with deployment.replica() as replica, line_to(replica) as (line, url):
        process = await asyncio.create_subprocess_exec(*command, url, "demo", "demo", stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            lines = Lines(process.stdout)
            await lines.connected()
            await replica.push("orders", *range(5))
            await lines.reach(4)
            async with line.outage():
                await replica.push("orders", *range(5, 8))
            await lines.reach(7)
            await replica.register()  # in another place: 4501, after which the program must not reconnect
            async with asyncio.timeout(TIMEOUT):
                assert await process.wait() == 1
        finally:
            with suppress(ProcessLookupError):  # it has ended
                process.kill()
            await process.wait()
    assert lines.events == list(range(8))
