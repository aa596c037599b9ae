import re

import jsonschema_rs
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from services.experience_api.http.pages import ORIGIN_PATTERN, Pages
from services.experience_api.refusals import Refusal, Refused

APP, EVIL = "https://app.example.com", "https://evil.example"


def asking(origin: str | None, path: str = "/tickets", method: str = "POST") -> web.Request:
    headers = {"Host": "relay.example.com", **({} if origin is None else {"Origin": origin})}
    return make_mocked_request(method, path, headers=headers)


def refused(pages: Pages, origin: str | None) -> Refusal | None:
    try:
        pages.check(asking(origin))
    except Refused as exc:
        return exc.refusal
    return None


async def answer(pages: Pages, origin: str | None, path: str = "/tickets", method: str = "POST") -> dict[str, str]:
    response = web.Response()
    await pages.add_headers(asking(origin, path, method), response)
    return {name: value for name, value in response.headers.items() if name != "Content-Type"}


def test_pages_of_other_origins_are_refused_where_some_are_named() -> None:
    pages = Pages([APP])
    assert [refused(pages, origin) is None for origin in (APP, None, "https://relay.example.com", EVIL, "null")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_every_page_may_connect_where_none_is_named() -> None:
    assert refused(Pages(None), EVIL) is None
    assert refused(Pages(["*"]), EVIL) is None


async def test_only_allowed_pages_may_read_the_response() -> None:
    assert (await answer(Pages([APP]), APP))["Access-Control-Allow-Origin"] == APP
    assert (await answer(Pages(["*"]), EVIL))["Access-Control-Allow-Origin"] == EVIL
    assert await answer(Pages([APP]), EVIL) == {"Vary": "Origin"}
    assert await answer(Pages([APP]), None) == {}
    assert await answer(Pages([APP]), APP, "/entity") == {}
    assert await answer(Pages(None), APP) == {}


async def test_a_preflight_names_methods_and_headers() -> None:
    found = await answer(Pages([APP]), APP, "/sse/publish", "OPTIONS")
    assert "Last-Event-ID" in found["Access-Control-Allow-Headers"]
    assert "GET" in found["Access-Control-Allow-Methods"]


@pytest.mark.parametrize(
    ("path", "header", "bound"),
    [
        ("/tickets", None, ""),
        ("/tickets", APP, APP),
        (f"/tickets?origin={APP}", None, APP),
        ("/tickets", "null", None),
        ("/tickets?origin=", APP, None),
    ],
)
def test_a_ticket_is_for_the_page_that_is_named_or_asks(path: str, header: str | None, bound: str | None) -> None:
    if bound is not None:
        assert Pages(None).bound(asking(header, path)) == bound
        return
    with pytest.raises(Refused):
        Pages(None).bound(asking(header, path))


@pytest.mark.parametrize("code", [*range(0x21), *range(0x7F, 0xA1), 0x2028, 0x3000, 0xFEFF], ids=hex)
def test_each_dialect_of_regular_expressions_refuses_white_space_in_an_origin(code: int) -> None:
    origin = f"https://app{chr(code)}.example.com"
    assert re.search(ORIGIN_PATTERN, origin) is None
    assert not jsonschema_rs.is_valid({"type": "string", "pattern": ORIGIN_PATTERN}, origin)
