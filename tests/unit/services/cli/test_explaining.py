"""`trelay explain` asks the admin API, and shows what it answers."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from services.cli.explaining import ExplainClient, bar, explain, lines
from services.cli.service_client import ServiceAddress
from shared.errors import TrelayError
from tests.integration.services.experience_api.producers import in_memory
from tests.unit.services.experience_api.admin.test_routes import ADMIN, TOKENS, Admin


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with in_memory({"admin": ADMIN}) as service, aiohttp.ClientSession() as http:
        assert service.admin is not None
        yield Admin(service.admin.url, http, TOKENS["alice"])


async def test_the_command_asks_until_it_is_done_and_shows_it(admin: Admin) -> None:
    await admin.call("POST", "/events?channel=orders.eu", {"n": 1}, 202)
    shown: list[str] = []
    async with ExplainClient.opened(ServiceAddress(admin.url, TOKENS["alice"], None)) as caller:
        found = await caller.explained({"event": "x", "client": "shop"}, lambda answer: shown.append(bar(answer)))
    assert shown[-1] == "[" + 30 * "#" + "] 100%, 1 records read"
    text = list(lines(found))
    assert text[0] == "no: no topic has the event in the range of times that was read"
    assert text[1].startswith("what to do: check the id")
    assert text[3].split() == ["HOP", "ANSWER", "TIME", "WHAT", "IS", "KNOWN"]
    assert text[4].split()[:2] == ["ingest", "no"]


class Stuck(ExplainClient):
    """A replica that reads nothing."""

    async def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        return {"cursor": "c", "progress": 0.5, "read": {"records": 3}}


async def test_a_search_that_gets_no_further_is_an_error() -> None:
    async with Stuck.opened(ServiceAddress("http://127.0.0.1:1", None, None)) as caller:
        with pytest.raises(TrelayError, match="cannot be read on"):
            await caller.explained({}, lambda _: None)


def test_the_command_names_what_is_missing() -> None:
    result = CliRunner().invoke(explain, ["orders:1"])
    assert (result.exit_code, "--client" in result.output) == (2, True)
