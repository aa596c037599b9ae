"""`GET /pipelines/{name}/shadow`, in the whole service."""

from typing import Any

import aiohttp

from services.process_api.settings import ProcessSettings
from shared.bus.memory import MemoryBus
from tests.unit.services.process_api.test_app import running

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER = {"sources": ["orders"], "channel": "orders"}


async def answers(process: dict[str, Any], *requests: tuple[str, dict[str, str]]) -> list[tuple[int, Any]]:
    written = {"process": {"listen": {"port": 0}, "node": "a", **process}}
    found = []
    async with (
        running(ProcessSettings.model_validate(written), MemoryBus()) as service,
        aiohttp.ClientSession() as http,
    ):
        for path, headers in requests:
            async with http.get(f"{service.listening.health_url}{path}", headers=headers) as response:
                found.append((response.status, await response.json(content_type=None)))
    return found


async def test_a_shadow_is_shown_and_one_that_is_missing_is_named() -> None:
    pipelines = {"orders": {**OTHER, "shadow": {"steps": []}}, "other": OTHER}
    (shown, missing) = await answers(
        {"pipelines": pipelines}, ("/pipelines/orders/shadow", {}), ("/pipelines/other/shadow", {})
    )
    status, body = shown
    assert status == 200
    assert (body["name"], body["replica"], body["differences"]) == ("orders", "a", [])
    assert body["results"] == dict.fromkeys(("same", "different", "only_old", "only_new", "failed", "dropped"), 0)
    assert missing[0] == 404
    assert "no pipeline 'other' has a shadow" in missing[1]["detail"]


async def test_the_differences_take_the_right_of_an_operator() -> None:
    pipelines = {"orders": {**OTHER, "shadow": {"steps": []}}}
    process = {"pipelines": pipelines, "operators": {"ada": {"token": TOKEN}}}
    path = "/pipelines/orders/shadow"
    refused, accepted = await answers(process, (path, {}), (path, {"Authorization": f"Bearer {TOKEN}"}))
    assert (refused[0], accepted[0]) == (401, 200)
