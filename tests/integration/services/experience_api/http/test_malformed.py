"""Requests that aiohttp refuses itself, and methods that no endpoint takes."""

import gzip
import json

import pytest

from tests.integration.services.experience_api.http.raw import answer
from tests.integration.services.experience_api.replicas import Replica

HOST = b"Host: localhost\r\n"
CUT = gzip.compress(b'{"number": 1} ')[:-9]
"""A compressed body that ends in its middle: what it begins with is JSON."""
PUSH = b"POST /entity?channel=a HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GARBAGE\r\n\r\n", 400, "malformed"),
        (b"GET / HTTP/9.9\r\n\r\n", 400, "malformed"),
        (b"GET /x HTTP/1.1\r\nHo st: a\r\n\r\n", 400, "malformed"),
        (b"DELETE /nothing HTTP/1.1\r\n\r\n", 400, "malformed"),
        (b"GET http://[::1/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400, "malformed"),
        (b"GET /x HTTP/1.1\r\n" + HOST + b"A: " + b"x" * 9000 + b"\r\n\r\n", 431, "request-header-fields-too-large"),
        (b"GET /x?a=" + b"x" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431, "request-header-fields-too-large"),
        (PUSH + b"Content-Length: x\r\n\r\n", 400, "malformed"),
        (PUSH + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "malformed"),
        (PUSH + b"Content-Encoding: br\r\nContent-Length: 5\r\n\r\nhello", 415, "unsupported-type"),
        (PUSH + b"Content-Encoding: zstd\r\nContent-Length: 5\r\n\r\nhello", 415, "unsupported-type"),
        (PUSH + b"Content-Encoding: foo\r\nContent-Length: 5\r\n\r\nhello", 415, "unsupported-type"),
        (PUSH + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", 400, "malformed"),
        (PUSH + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(CUT), CUT), 400, "malformed"),
        (PUSH + b"Content-Encoding: deflate\r\nContent-Length: %d\r\n\r\n%b" % (len(CUT), CUT), 400, "malformed"),
        (PUSH + 2 * b"Content-Encoding: gzip\r\n" + b"Content-Length: 2\r\n\r\n{}", 415, "unsupported-type"),
        (PUSH + b"Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello", 417, "expectation-failed"),
        (b"GET /nothing HTTP/1.1\r\n" + HOST + b"\r\n", 404, "not-found"),
        (b"PUT /entity HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\n", 405, "method-not-allowed"),
        (b"GET /readyz HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421, "host-not-allowed"),
        (b"POST /consumers HTTP/1.1\r\nHost: evil.example:8080\r\n\r\n", 421, "host-not-allowed"),
    ],
)
async def test_every_error_is_a_problem_document(
    replica: Replica, request_bytes: bytes, status: int, code: str
) -> None:
    found, headers, body = await answer(replica, request_bytes)
    assert (found, headers["Content-Type"]) == (status, "application/problem+json")
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, code)
    assert not {"b'", "bytearray", "install"} & set(problem["detail"].split())


@pytest.mark.parametrize("path", ["/consumers", "/entity", "/ws/publish"])
async def test_head_and_options_are_answered_at_once(replica: Replica, path: str) -> None:
    """Although a body is announced that does not arrive."""
    tail = f" {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n".encode()
    status, headers, _ = await answer(replica, b"OPTIONS" + tail)
    assert (status, bool(headers["Allow"])) == (204, True)
    status, headers, body = await answer(replica, b"HEAD" + tail)
    assert (status, bool(headers["Allow"]), body) == (405, True, b"")
