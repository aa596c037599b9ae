"""The JavaScript client sends over a line that breaks: each message is stored once, in its order."""

import asyncio
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.clients.sent import SECRET, add_sender, line_to, stored
from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment

pytestmark = pytest.mark.timeout(300)  # the first one installs and builds what it needs

PROGRAM = Path(__file__).with_name("sender.js")
MESSAGES = 30
CUTS = (5, 15)


async def test_each_message_is_stored_once_over_a_line_that_is_cut(deployment: Deployment, library: Path) -> None:
    async with deployment.replica() as replica, line_to(replica) as (line, url):
        await add_sender(replica)
        # Node 20 has WebSockets by an option, later ones by default.
        arguments = ["--experimental-websocket", str(PROGRAM), str(library / "index.js"), url, "sensor", SECRET]
        process = await asyncio.create_subprocess_exec(
            "node", *arguments, str(MESSAGES), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        lines: list[str] = []
        try:
            async with asyncio.timeout(TIMEOUT):
                while line_read := (await process.stdout.readline()).decode().strip():
                    lines.append(line_read)
                    if len(lines) in CUTS:
                        async with line.outage():
                            pass
        finally:
            with suppress(ProcessLookupError):  # it has ended
                process.kill()
            _, errors = await process.communicate()
        assert lines[-1:] == ["done"], errors.decode()
        assert [line_read.split()[0] for line_read in lines[:-1]] == [str(number) for number in range(MESSAGES)]
        assert len({line_read.split()[1] for line_read in lines[:-1]}) == MESSAGES
        assert await stored(deployment, MESSAGES) == list(range(MESSAGES))
