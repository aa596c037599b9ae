"""The JavaScript client in Node, on a real server."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.integration.clients.javascript.library import FOLDER
from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment

pytestmark = pytest.mark.timeout(900)  # the first one installs and builds what it needs

PROGRAM = Path(__file__).with_name("subscriber.js")


class Program:
    """A running subscriber."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def numbers(self, count: int) -> list[int]:
        """Return the numbers of the next events; control events are skipped, and there is no gap."""
        assert self.process.stdout is not None
        found: list[int] = []
        async with asyncio.timeout(TIMEOUT):
            while len(found) < count:
                line = (await self.process.stdout.readline()).decode().strip()
                assert line, "the subscriber has ended"
                assert line != "trelay.gap"
                if line.isdecimal():
                    found.append(int(line))
        return found

    async def connected(self) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            while await self.process.stdout.readline() != b"trelay.connected\n":
                pass


@asynccontextmanager
async def program(library: Path, url: str, cursor: Path, transport: str, *more: str) -> AsyncIterator[Program]:
    arguments = [str(PROGRAM), str(library / "index.js"), url, str(cursor), transport, *more]
    process = await asyncio.create_subprocess_exec("node", *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        yield Program(process)
    finally:
        process.kill()
        await process.wait()


async def test_nothing_is_lost_or_repeated_over_restarts_of_either_side(
    deployment: Deployment, library: Path, tmp_path: Path
) -> None:
    cursor = tmp_path / "cursor"
    async with deployment.replica() as replica:
        port, url = urlsplit(replica.url).port, replica.url
        async with program(library, url, cursor, "auto") as first:
            await first.connected()
            await replica.push("orders", *range(5))
            seen = await first.numbers(5)
            await replica.push("orders", 5)
            seen += await first.numbers(1)
        await deployment.until_no_connection()
        await replica.push("orders", *range(6, 10))
    async with (
        deployment.replica({"listen": {"port": port}}) as replica,
        program(library, url, cursor, "auto") as again,
    ):
        found = await again.numbers(4)
        if found[0] == seen[-1]:  # it was printed, and the program was killed before its cursor was saved
            found = [*found[1:], *await again.numbers(1)]
        await replica.push("orders", 10)
        assert [*seen, *found, *await again.numbers(1)] == list(range(11))


async def test_a_subscription_begins_in_the_history(deployment: Deployment, library: Path, tmp_path: Path) -> None:
    async with deployment.replica() as replica:
        await replica.push("orders", 0, 1)
        for transport in ("auto", "sse"):
            async with program(library, replica.url, tmp_path / transport, transport, "earliest") as running:
                assert await running.numbers(2) == [0, 1]
            await deployment.until_no_connection()


async def test_a_restart_of_the_server_is_survived(deployment: Deployment, library: Path, tmp_path: Path) -> None:
    async with deployment.replica() as replica:
        port, url = urlsplit(replica.url).port, replica.url
        subscriber = program(library, url, tmp_path / "cursor", "sse")
        running = await subscriber.__aenter__()
        await running.connected()
        await replica.push("orders", 0, 1)
        seen = await running.numbers(2)
    try:
        async with deployment.replica({"listen": {"port": port}}) as replica:
            await replica.push("orders", 2, 3)
            assert [*seen, *await running.numbers(2)] == [0, 1, 2, 3]
    finally:
        await subscriber.__aexit__(None, None, None)


def test_its_own_tests_pass(library: Path) -> None:
    tests = [str(path) for path in sorted((library.parent / "test").glob("*.test.js"))]
    done = subprocess.run(
        ["node", "--test", *tests], cwd=FOLDER, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout
