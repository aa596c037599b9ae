import json
import logging
from http import HTTPStatus
from typing import NoReturn

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from shared.errors import Malformed, TooLarge, Unavailable
from shared.http.problem import problem, problems


class Sent:
    """As much of a writer as is looked at: how many bytes of the response are on their way."""

    def __init__(self, output_size: int = 0) -> None:
        self.output_size = output_size


async def answer(error: Exception, sent: Sent) -> web.StreamResponse:
    async def handler(_request: web.Request) -> NoReturn:
        raise error

    return await problems(make_mocked_request("GET", "/entity?ticket=secret", writer=sent), handler)


async def told(error: Exception) -> tuple[web.Response, dict[str, object]]:
    response = await answer(error, Sent())
    assert isinstance(response, web.Response)
    assert isinstance(response.body, bytes)
    assert response.content_type == "application/problem+json"
    body = json.loads(response.body)
    assert body["status"] == response.status
    return response, body


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "not-found"),
        (413, "too-large"),
        (414, "uri-too-long"),
        (422, "unprocessable-entity"),
        (429, "too-many-requests"),
    ],
)
def test_a_code_is_the_same_on_every_version_of_python(status: int, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if status not in {404, 429}:
        monkeypatch.setattr(HTTPStatus(status), "phrase", "Another Phrase")
    assert json.loads(problem(status, "d").body or b"")["code"] == code  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (Malformed("line 3: no JSON"), 400, "line 3: no JSON"),
        (TooLarge("2 MiB, the limit is 1 MiB"), 413, "2 MiB, the limit is 1 MiB"),
        (Unavailable("db at 10.0.0.1 refused"), 503, "something this service depends on does not answer; try again"),
        (RuntimeError("insides"), 500, "the service failed; its log has the reason"),
        (web.HTTPNotFound(), 404, "there is nothing at /entity"),
        (web.HTTPForbidden(), 403, "Forbidden"),
        (web.HTTPForbidden(text="not from this address"), 403, "not from this address"),
        (web.HTTPRequestEntityTooLarge(1, 2), 413, "the body is above the limit of 1048576 bytes"),
        (web.RequestPayloadError("zlib"), 400, "the body cannot be read to its end, or decoded"),
    ],
)
async def test_every_error_is_a_problem(error: Exception, status: int, detail: str) -> None:
    _, body = await told(error)
    assert (body["status"], body["detail"]) == (status, detail)


async def test_an_unavailable_service_sets_retry_after() -> None:
    response, _ = await told(Unavailable("x"))
    assert response.headers["Retry-After"] == "1"


async def test_a_method_that_is_not_taken_names_those_that_are() -> None:
    response, body = await told(web.HTTPMethodNotAllowed("GET", ["POST", "DELETE"]))
    assert response.headers["Allow"] == "DELETE,POST"
    assert body["detail"] == "/entity takes DELETE, POST"


async def test_a_redirection_is_no_problem() -> None:
    with pytest.raises(web.HTTPFound):
        await told(web.HTTPFound("/elsewhere"))


async def test_a_failure_is_logged_without_the_query(caplog: pytest.LogCaptureFixture) -> None:
    await told(RuntimeError("insides"))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "request failed"
    assert (vars(record)["method"], vars(record)["path"]) == ("GET", "/entity")
    assert record.exc_info is not None


async def test_a_response_that_has_begun_is_broken_off() -> None:
    with pytest.raises(RuntimeError, match="insides"):
        await answer(RuntimeError("insides"), Sent(output_size=1))


def test_members_may_be_added() -> None:
    response = problem(409, "already connected", connection="abc")
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "already connected",
        "code": "conflict",
        "connection": "abc",
    }
