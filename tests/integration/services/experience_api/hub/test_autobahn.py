"""Autobahn's own cases, run by `kosoku`, over the code that reads the frames of subscribers.

Left out are the sections 9 (limits and performance), whose 9.7.1 and 9.8.1 send a thousand empty messages, which end a
connection here (4507), and 12 and 13 (compression), in which kosoku 0.1 hashes text where bytes are needed.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tests.integration.services.experience_api.hub.echo import echo

SECTIONS = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "10": 1}
"""How many cases each has."""
NOT_STRICT = {"6.4.1", "6.4.2", "6.4.3", "6.4.4"}
"""Invalid UTF-8 is noticed once the message is whole."""
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}
"""The RFC leaves the outcome open."""
TIMEOUT = 120.0


@pytest.fixture
async def address() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"{host}:{port}"
    await runner.cleanup()


async def test_each_case_has_the_outcome_that_is_known(address: str) -> None:
    kosoku = pytest.importorskip("kosoku")
    patterns = [f"{section}.*" for section in SECTIONS]
    async with asyncio.timeout(TIMEOUT):
        results: list[Any] = await kosoku.run_fuzzingclient(address, cases=patterns, concurrency=4)
    found: dict[str, set[str]] = {}
    for each in results:
        found.setdefault(each.behavior.value, set()).add(each.case_id)
    assert found.pop("NON-STRICT") == NOT_STRICT
    assert found.pop("INFORMATIONAL") == INFORMATIONAL
    assert found.keys() == {"OK"}
    counts = {name: sum(each.case_id.startswith(f"{name}.") for each in results) for name in SECTIONS}
    assert counts == SECTIONS
    assert {each.behavior_close.value for each in results} <= {"OK", "INFORMATIONAL"}
