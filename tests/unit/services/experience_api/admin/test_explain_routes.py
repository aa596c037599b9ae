"""Explanations by the admin API on a real socket, with everything else in memory."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from shared.composition.serving import RunningService
from tests.integration.services.experience_api.producers import in_memory
from tests.unit.services.experience_api.admin.test_routes import ADMIN, TOKENS, Admin


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with in_memory({"admin": ADMIN}) as service, aiohttp.ClientSession() as http:
        yield Admin(_url(service), http, TOKENS["alice"])


def _url(service: RunningService) -> str:
    assert service.admin is not None
    return service.admin.url


async def explained(admin: Admin, query: str) -> dict[str, Any]:
    found: dict[str, Any] = await admin.call("GET", f"/explain?{query}")
    return found


async def test_it_tells_where_an_event_stopped(admin: Admin) -> None:
    await admin.call("POST", "/events?channel=orders.eu", {"n": 1}, 202)
    found = await admin.call("GET", "/events?since=earliest&wait=0.2")
    event_id = found["events"][0]["id"]
    nobody = await explained(admin, f"event={event_id}&client=shop")
    assert (nobody["cursor"], nobody["progress"], nobody["event"]) == (None, 1, event_id)
    assert nobody["conclusion"]["text"] == "there is no client 'shop'"
    for channels, hop, text in (
        (["stock"], "grant", "the client may not subscribe to orders.eu"),
        (
            ["orders.*"],
            "delivery",
            "the client has not registered, or its registration was revoked, so it has no connection",
        ),
    ):
        await admin.call("POST", "/clients", {"client_id": hop, "channels": channels}, 201)
        conclusion = (await explained(admin, f"event={event_id}&client={hop}"))["conclusion"]
        assert (conclusion["hop"], conclusion["answer"], conclusion["text"]) == (hop, "no", text)
    # Before the earliest that is kept it may have been there.
    for since, answer in (("1h", "no"), ("earliest", "unknown")):
        nowhere = await explained(admin, f"event=none&client=shop&since={since}")
        assert [hop["answer"] for hop in nowhere["hops"]] == [answer, "skipped", "skipped", "no", "skipped"]


@pytest.mark.parametrize("query", ["client=shop", "event=1", "event=1&client=shop&since=x", "event=1&client=shop&x=1"])
async def test_what_is_wrong_with_a_request_is_named(admin: Admin, query: str) -> None:
    found = await admin.call("GET", f"/explain?{query}", expected=400)
    assert "query parameter" in found["detail"]
