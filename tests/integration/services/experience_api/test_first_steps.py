"""The commands with which docs/subscribers.md begins."""

import asyncio
import os
import re
import shutil
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.integration.services.experience_api.producers import in_memory

PAGE = Path(__file__).parents[4] / "docs" / "subscribers.md"
PLACES = "RELAY=https://relay.example.com CLIENT_ID=billing CLIENT_SECRET=trs_…\n"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_first_commands_of_the_page_show_events(tmp_path: Path) -> None:
    (commands,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert PLACES in commands
    async with (
        in_memory({"entity": {"allow": ["127.0.0.1"]}}) as service,
        aiohttp.ClientSession(service.listening.url) as http,
    ):
        for number in (1, 2):
            async with http.post("/entity?channel=orders.eu", json=number) as response:
                assert response.status == 202
        own = commands.replace(PLACES, f"RELAY={service.listening.url} CLIENT_ID=demo CLIENT_SECRET=demo\n")
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", own, stdout=asyncio.subprocess.PIPE, cwd=tmp_path, start_new_session=True
        )
        assert process.stdout is not None
        shown = ""
        try:
            async with asyncio.timeout(60):
                while '"data":2' not in shown:
                    shown += (await process.stdout.readline()).decode()
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # the shell and curl
            await process.communicate()
    assert shown.startswith('{"client_id": "demo", "token": "')
    assert shown.index('"trelay.connected"') < shown.index('"data":1') < shown.index('"data":2')
