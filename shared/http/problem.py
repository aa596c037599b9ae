"""What a caller gets when a request fails: problem details in JSON (RFC 9457), without internal details."""

import functools
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web

from shared.errors import Malformed, ProblemError, TooLarge, Unavailable
from shared.runtime.trace import traced

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
_RETRY_AFTER = {"Retry-After": "1"}
_CODES = {
    400: "malformed",
    413: "too-large",
    414: "uri-too-long",
    415: "unsupported-type",
    416: "range-not-satisfiable",
    422: "unprocessable-entity",
    500: "internal",
    503: "unavailable",
}
"""Stable codes, for programs; any other is the phrase of the status, such as `not-found`. The phrases of 413, 414, 416
and 422 depend on the version of Python."""
_BELOW = (
    ("Got more than", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "a line of the request is too long"),
    ("Missing 'Host'", HTTPStatus.BAD_REQUEST, "the header 'Host' is missing"),
    ("Received HTTPS", HTTPStatus.BAD_REQUEST, "this port speaks plain HTTP, and the request is TLS"),
    ("Unknown Expect", HTTPStatus.EXPECTATION_FAILED, "header 'Expect': expected '100-continue'"),
)
"""How aiohttp's texts begin for requests that it refuses before the application sees them."""
_KEPT = ("Allow", "Retry-After", "WWW-Authenticate", "Location", "Accept-Encoding")  # the last: RFC 9110, 15.5.16


def problem(status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> web.Response:
    """Return an error response. `detail` is a sentence for the caller; `more` are members beside the standard ones."""
    title, code = _names(status)
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code, **more}
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type=CONTENT_TYPE, headers=dict(headers or {})
    )


@functools.cache
def _names(status: int) -> tuple[str, str]:
    """Return the title and the code of a status."""
    phrase = HTTPStatus(status).phrase
    return phrase, _CODES.get(status) or phrase.lower().replace(" ", "-")


@web.middleware
async def problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn what a handler raises into a response. An unexpected error is logged, and the caller gets a bare 500."""
    with traced(request.headers.get("traceparent")):
        return await _answered(request, handler)


async def _answered(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except ProblemError as exc:
        response = problem(exc.status, exc.detail, headers=exc.headers, **exc.members)
        exc.__traceback__ = None  # see below
    except web.HTTPException as exc:
        if exc.status < HTTPStatus.BAD_REQUEST:
            raise
        response = _of(exc, request)
        # The request has the route, and that of aiohttp for what does not exist has the exception: a cycle, which only
        # the garbage collector frees. In a flood it has so much to free that all else stands still for 0.1 s.
        exc.__traceback__ = None
    except web.RequestPayloadError:
        # The sender broke off, or the body is not in the encoding that the request names.
        response = problem(HTTPStatus.BAD_REQUEST, "the body cannot be read to its end, or decoded")
    except Malformed as exc:
        too_large = isinstance(exc, TooLarge)
        response = problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE if too_large else HTTPStatus.BAD_REQUEST, str(exc))
    except Unavailable:
        logger.warning("dependency unavailable; answering 503", extra=_named(request), exc_info=True)
        detail = "something this service depends on does not answer; try again"
        response = problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=_RETRY_AFTER)
    except Exception as exc:
        if isinstance(exc, ConnectionResetError) and request.transport is None:
            raise  # the client has disconnected: there is no one to answer
        logger.exception("request failed", extra=_named(request))
        if request.writer.output_size > 0:
            raise  # part of a response has been sent; the client would read a second response as its body
        response = problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the service failed; its log has the reason")
    return response


def _of(exc: web.HTTPException, request: web.Request) -> web.Response:
    kept = {name: exc.headers[name] for name in _KEPT if name in exc.headers}
    if isinstance(exc, web.HTTPMethodNotAllowed) and request.method == "OPTIONS":
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=kept)
    return problem(exc.status, _detail(exc, request), headers=kept)


def replace_text(response: web.Response) -> None:
    """Replace the text of an error that aiohttp itself responds with by problem details: it shows how it parses."""
    text = response.text or ""
    found = ((status, detail) for begin, status, detail in _BELOW if text.startswith(begin))
    status, detail = next(found, (HTTPStatus(response.status), "the request is not valid HTTP"))
    better = problem(status, detail)
    response._set_status(status, None)  # noqa: SLF001 -- `set_status` refuses once the response is prepared
    response.body = better.body
    response.headers.update(better.headers)
    response.headers["Content-Length"] = str(len(response.body))


def _named(request: web.Request) -> dict[str, str]:
    return {"method": request.method, "path": request.rel_url.path}


def _detail(exc: web.HTTPException, request: web.Request) -> str:
    match exc:
        case web.HTTPNotFound():
            return f"there is nothing at {request.rel_url.path[:200]}"
        case web.HTTPMethodNotAllowed():
            return f"{request.rel_url.path[:200]} takes {', '.join(sorted(exc.allowed_methods))}"
        case web.HTTPRequestEntityTooLarge():
            return f"the body is above the limit of {request.client_max_size} bytes"
        case _:
            text = exc.text or ""
            return exc.reason if text == f"{exc.status}: {exc.reason}" else text
