"""OAuth 2.0 and the pace of requests, against a real server."""

import asyncio
import contextlib
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from shared.errors import SettingsError, TrelayError, Unauthorized, Unavailable
from shared.http.client.failures import RateLimited
from tests.integration.services.system_api.sources.http.http_poller import SteppedClock
from tests.integration.shared.http.client.http_client import client, fails
from tests.servers.http_api import HttpApi

# OAuth 2.0


def oauth(api: HttpApi, **more: Any) -> dict[str, Any]:
    return {
        "auth": {
            "kind": "oauth2",
            "token_url": api.url("/token"),
            "client_id": "me",
            "client_secret": "s3cret",
            **more,
        }
    }


def guarded(api: HttpApi, valid: set[str]) -> None:
    """Answer `/` for the tokens that are valid, and issue `t1`, `t2` and so on at `/token`."""
    issued = [0]

    async def issue(_request: web.Request) -> web.Response:
        issued[0] += 1
        valid.add(f"t{issued[0]}")
        return web.json_response({"access_token": f"t{issued[0]}", "token_type": "Bearer", "expires_in": 3600})

    async def orders(request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return web.json_response({"ok": True}) if token in valid else web.Response(status=401, text="expired")

    api.answer("/token", issue)
    api.answer("/", orders)


async def test_a_token_is_requested_once_and_renewed_once_when_it_is_refused(api: HttpApi) -> None:
    valid: set[str] = set()
    guarded(api, valid)
    async with client(api.url(), **oauth(api, scope="read")) as opened:
        await asyncio.gather(*(opened.get(URL(api.url())) for _ in range(5)))
        assert api.paths().count("/token") == 1
        valid.clear()
        await asyncio.gather(*(opened.get(URL(api.url())) for _ in range(5)))
        assert api.paths().count("/token") == 2
    form = await api.requests[0].post()
    assert dict(form) == {"grant_type": "client_credentials", "scope": "read"}


async def test_a_token_that_is_refused_twice_is_an_error(api: HttpApi) -> None:
    api.answer("/token", {"access_token": "t", "expires_in": 60})
    api.answer("/", 401)
    assert "401 Unauthorized" in await fails(api, Unauthorized, **oauth(api))
    assert api.paths() == ["/token", "/", "/token", "/"]


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (
            (400, {}, {"error": "invalid_client"}),
            Unauthorized,
            '400 Bad Request: \'{"error": "invalid_client"}\'; check',
        ),
        ((503, {}, b"later"), Unavailable, "503 Service Unavailable: 'later'"),
        ((429, {}, b"later"), RateLimited, "429 Too Many Requests: 'later'"),
        ((200, {}, b"<html>"), Unavailable, "the response holds no access token"),
        ((200, {}, bytes(100_000)), Unavailable, "exceeds the limit"),
        ((302, {"Location": "/elsewhere"}, None), Unavailable, "302 Found"),
    ],
)
async def test_a_token_endpoint_that_fails(api: HttpApi, answer: Any, error: type[TrelayError], text: str) -> None:
    api.answer("/token", answer)
    found = await fails(api, error, **oauth(api))
    assert found.startswith(f"POST {api.url('/token')}: ")
    assert text in found
    assert "s3cret" not in found


async def test_a_token_endpoint_inside_is_refused(api: HttpApi) -> None:
    options = oauth(api)
    options["auth"]["token_url"] = "http://169.254.169.254/token"
    assert "169.254.169.254 is a cloud metadata address" in await fails(api, SettingsError, **options)


# The pace

AT = {"Date": formatdate(1_800_000_000, usegmt=True)}
"""The header of a server whose clock is that of the tests."""


async def test_retry_after_holds_all_requests(api: HttpApi) -> None:
    clock = SteppedClock()
    api.answer("/", (429, {"Retry-After": "40"}, None), {"ok": True})
    async with client(api.url(), clock) as opened:
        with pytest.raises(RateLimited):
            await opened.get(URL(api.url()))
        assert opened.held_for == 40
        assert await opened.wait(10) == 30
        assert await opened.wait(100) == 0
        assert clock.slept == [10, 30]
        await opened.get(URL(api.url()))


@pytest.mark.parametrize(
    ("answer", "held"),
    [
        ((200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "90"}, b"{}"), 90),
        ((200, {"X-RateLimit-Remaining": "5", "X-RateLimit-Reset": "90"}, b"{}"), 0),
        ((200, {"Retry-After": "90"}, b"{}"), 0),
        ((503, {"Retry-After": "90"}, None), 90),
        ((500, {"Retry-After": "90"}, None), 0),
        ((403, {**AT, "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1800000090"}, None), 90),  # GitHub
        ((403, {"Retry-After": "90"}, None), 90),  # GitHub, its secondary limit
        ((429, {"Retry-After": "99999"}, None), 3600),
        ((429, {}, None), 0),
    ],
)
async def test_what_a_response_says_about_the_pace(api: HttpApi, answer: Any, held: float) -> None:
    api.answer("/", answer)
    async with client(api.url()) as opened:
        with contextlib.suppress(Unavailable):
            await opened.get(URL(api.url()))
        assert opened.held_for == held


@pytest.mark.parametrize(("status", "error"), [(429, RateLimited), (403, RateLimited), (503, Unavailable)])
async def test_the_pace_of_the_authorization_server_is_obeyed(
    api: HttpApi, status: int, error: type[TrelayError]
) -> None:
    api.answer("/token", (status, {"Retry-After": "40"}, None))
    async with client(api.url(), **oauth(api)) as opened:
        with pytest.raises(error):
            await opened.get(URL(api.url()))
        assert opened.held_for == 40


async def test_a_budget_spaces_the_requests(api: HttpApi) -> None:
    clock = SteppedClock()
    api.answer("/", {"ok": True})
    async with client(api.url(), clock, rate={"requests": 60, "seconds": 60}) as opened:
        for _ in range(4):
            assert await opened.wait(100) == 0
            await opened.get(URL(api.url()))
    assert clock.slept == [1, 1, 1]


async def test_requests_name_trelay_and_what_they_accept(api: HttpApi) -> None:
    api.answer("/", {"ok": True})
    async with client(api.url(), headers={"Accept": "application/vnd.x+json"}) as opened:
        await opened.get(URL(api.url()))
    headers = api.requests[0].headers
    assert headers["User-Agent"] == "Trelay"
    assert headers["Accept"] == "application/vnd.x+json"
    assert headers["Accept-Encoding"] == "gzip, deflate"
