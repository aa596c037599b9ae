"""Requests of any method: what goes wrong with them names the method, and no redirect is followed."""

import pytest
from yarl import URL

from shared.errors import Unavailable
from shared.http.client.client import Request
from shared.http.client.failures import UnusableResponse
from tests.integration.shared.http.client.http_client import client
from tests.servers.http_api import HttpApi


async def test_a_request_has_a_method_and_a_body(api: HttpApi) -> None:
    api.answer("/orders", (201, {}, {"id": 7}))
    async with client(api.url(), auth={"kind": "bearer", "token": "t"}) as opened:
        sent = Request("PUT", URL(api.url("/orders")), {"Idempotency-Key": "k"}, b"{}")
        response = await opened.request(sent)
    assert (response.status, response.body) == (201, b'{"id": 7}')
    (received,) = api.requests
    assert (received.method, await received.read()) == ("PUT", b"{}")
    assert (received.headers["Idempotency-Key"], received.headers["Authorization"]) == ("k", "Bearer t")


@pytest.mark.parametrize(("status", "error"), [(404, UnusableResponse), (500, Unavailable)])
async def test_an_error_names_the_method(api: HttpApi, status: int, error: type[Exception]) -> None:
    api.answer("/orders", status)
    async with client(api.url()) as opened:
        with pytest.raises(error, match=r"^POST http://127\.0\.0\.1:\d+/orders: ") as caught:
            await opened.request(Request("POST", URL(api.url("/orders")), {}, b""))
    if isinstance(caught.value, UnusableResponse):
        assert caught.value.status == 404


async def test_a_redirect_is_not_followed(api: HttpApi) -> None:
    api.answer("/orders", (307, {"Location": "/elsewhere"}, None))
    async with client(api.url()) as opened:
        with pytest.raises(UnusableResponse, match="307 to '/elsewhere'; a redirect of such a request is not followed"):
            await opened.request(Request("POST", URL(api.url("/orders")), {}, b"{}"))
    assert len(api.requests) == 1
