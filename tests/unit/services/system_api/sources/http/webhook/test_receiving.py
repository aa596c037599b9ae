"""The endpoint answers with problem details that have a stable code."""

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web

from services.system_api.sources.http.webhook.receiving import HookRoutes
from shared.http.problem import problems
from tests.servers.webhook_senders import SECRET, github, slack
from tests.unit.services.system_api.sources.http.webhook.receiving_requests import SOURCE, Receiving

BODY = b'{"a":1}'


@pytest.fixture
def receiving() -> Receiving:
    return Receiving()


async def running(receiving: Receiving) -> AsyncIterator[str]:
    app = web.Application(middlewares=[problems])
    HookRoutes({SOURCE: receiving.receiver}).add_to(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/"
    await runner.cleanup()


@pytest.fixture
async def url(receiving: Receiving) -> AsyncIterator[str]:
    async for each in running(receiving):
        yield each


async def test_accepted_repeated_and_refused(url: str, receiving: Receiving) -> None:
    async with ClientSession() as client:
        for status in ("accepted", "repeated"):
            async with client.post(f"{url}{SOURCE}", data=BODY, headers=github(BODY, "d1")) as answer:
                assert (answer.status, await answer.json()) == (200, {"status": status})
        async with client.post(f"{url}{SOURCE}", data=BODY) as answer:
            assert (answer.status, answer.content_type) == (403, "application/problem+json")
            assert json.loads(await answer.text())["code"] == "signature-missing"
        async with client.post(f"{url}other", data=BODY, headers=github(BODY, "d1")) as answer:
            assert (answer.status, json.loads(await answer.text())["code"]) == (404, "unknown-source")
        async with client.get(f"{url}{SOURCE}") as answer:
            assert answer.status == 405
        receiving.inbox.problem = "away"
        async with client.post(f"{url}{SOURCE}", data=BODY, headers=github(BODY, "d2")) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    receiving.inbox.problem = None
    assert await receiving.stored() == ["d1"]


async def test_a_challenge() -> None:
    receiving = Receiving(verify={"kind": "slack", "secrets": [SECRET]})
    body = b'{"type":"url_verification","challenge":"c"}'
    async for url in running(receiving):
        async with (
            ClientSession() as client,
            client.post(f"{url}{SOURCE}", data=body, headers=slack(body, receiving.clock.at)) as answer,
        ):
            assert (answer.status, await answer.json()) == (200, {"challenge": "c"})
