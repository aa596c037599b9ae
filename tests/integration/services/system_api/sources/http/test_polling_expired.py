"""A log whose API knows the saved cursor no longer."""

from typing import Any

import pytest
from aiohttp import web

from services.system_api.sources.capabilities import Rewinding
from shared.http.client.failures import UnusableResponse
from tests.integration.services.system_api.sources.http.http_poller import HttpPoller
from tests.servers.http_api import HttpApi, response


def log_of_changes(kept: list[int], refusal: Any) -> Any:
    """Return an API that lists those after a cursor, two at a time, and refuses a cursor that it keeps no longer."""

    async def respond(request: web.Request) -> web.Response:
        after = int(request.query.get("after", "0"))
        if after and after not in kept:
            return response(refusal)
        return web.json_response({"items": [{"id": each} for each in kept if each > after][:2]})

    return respond


REFUSALS: list[Any] = [(410, {}, {"error": "gone"}), (400, {}, {"error": {"code": "invalid_cursor"}})]
FOLLOWED: dict[str, Any] = {"kind": "cursor", "cursor": "items[-1].id", "parameter": "after"}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_cursor_that_the_api_knows_no_longer_stops_the_source_with_what_to_do(
    api: HttpApi, refusal: Any
) -> None:
    kept = [1, 2, 3]
    api.answer("/log", log_of_changes(kept, refusal))
    poller = HttpPoller(api.url("/log"), records="items", changes=FOLLOWED)
    async with poller.opened():
        assert [each["id"] for each in await poller.data()] == [1, 2, 3]
        kept[:] = [7, 8]
        with pytest.raises(UnusableResponse) as raised:
            await poller.data()
    text = str(raised.value)
    assert f"{refusal[0]} " in text
    assert "the API knows the cursor '3' no longer" in text
    assert "`trelay sources rewind orders --to beginning`, or set changes.on_expired: restart" in text
    async with poller.opened():
        assert isinstance(poller.source, Rewinding)
        poller.checkpoint = dict(await poller.source.checkpoint_at("beginning"))
    async with poller.opened():
        assert [each["id"] for each in await poller.data()] == [7, 8]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_source_begins_again_where_the_api_knows_its_cursor_no_longer(api: HttpApi, refusal: Any) -> None:
    kept = [1, 2, 3]
    api.answer("/log", log_of_changes(kept, refusal))
    changes = FOLLOWED | {"on_expired": "restart"}
    poller = HttpPoller(api.url("/log"), records="items", subject='"entity"', changes=changes)
    async with poller.opened():
        await poller.data()
        kept[:] = [2, 7, 8, 9]
        batch = await poller.poll()
        assert [loss.text.partition(" (")[0] for loss in batch.losses] == [
            "changes.cursor: the API knows the cursor '3' no longer"
        ]
        assert batch.more
    async with poller.opened():  # it was saved
        assert [each["id"] for each in await poller.data()] == [7, 8, 9]
    assert poller.ids == [f"orders:{number}" for number in (1, 2, 3, 7, 8, 9)]


async def test_another_refusal_is_not_taken_for_an_expired_cursor(api: HttpApi) -> None:
    api.answer("/log", {"items": [{"id": 1}]}, {"items": []}, (400, {}, {"error": "invalid request"}))
    poller = HttpPoller(api.url("/log"), records="items", changes=FOLLOWED | {"on_expired": "restart"})
    async with poller.opened():
        await poller.data()
        with pytest.raises(UnusableResponse, match="invalid request") as raised:
            await poller.data()
    assert "no longer" not in str(raised.value)
