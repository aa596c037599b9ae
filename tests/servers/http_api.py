"""An HTTP API whose answers a test decides, on a free port of the loopback; and one that lists records page by page."""

import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class HttpApi:
    """The server. What no answer is set for is 404."""

    port: int = 0
    scheme: str = "http"
    requests: list[web.Request] = field(default_factory=list)
    """All requests, in order; their bodies are read."""
    answers: dict[str, Answer] = field(default_factory=dict)
    """By path."""

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def answer(self, path: str, *answers: Any) -> None:
        """Give these answers in turn, and the last one from then on.

        An answer is a function of the request, a status, a body (JSON), or a tuple of status, headers and body.
        """
        left = list(answers)

        async def respond(request: web.Request) -> web.StreamResponse:
            answer = left.pop(0) if len(left) > 1 else left[0]
            return await answer(request) if callable(answer) else response(answer)

        self.answers[path] = respond

    def paths(self) -> list[str]:
        """The paths with their queries, in the order of the requests."""
        return [str(request.rel_url) for request in self.requests]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.requests.append(request)
        answer = self.answers.get(request.path)
        return web.Response(status=404, text="nothing here") if answer is None else await answer(request)


def response(answer: Any) -> web.Response:
    """Make a response of a status, a body, or a tuple of status, headers and body."""
    status, headers, body = (
        answer if isinstance(answer, tuple) else (answer, {}, None) if isinstance(answer, int) else (200, {}, answer)
    )
    if isinstance(body, bytes):
        return web.Response(status=status, headers=headers, body=body)
    if body is None:
        return web.Response(status=status, headers=headers)
    return web.json_response(body, status=status, headers=headers)


@contextlib.asynccontextmanager
async def http_api(tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpApi]:
    """Run a server while the context is open."""
    api = HttpApi(scheme="http" if tls is None else "https")
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        api.port = runner.addresses[0][1]
        yield api
    finally:
        await runner.cleanup()


class Listing:
    """A list of records in one order, served in pages; a test changes it between or during requests."""

    def __init__(self, records: Sequence[dict[str, Any]] = (), *, size: int = 3) -> None:
        self.records = list(records)
        self.size = size
        self.before_page: Callable[[int], None] = lambda _number: None
        """Called before the nth request (from 1) is answered."""
        self.pages = 0
        self.etags = False
        self.totals = True
        """Whether each page has the number of all records."""

    async def __call__(self, request: web.Request) -> web.Response:
        self.pages += 1
        self.before_page(self.pages)
        query = request.query
        start = int(query["offset"]) if "offset" in query else (int(query.get("page", "1")) - 1) * self.size
        since = query.get("since")
        listed = [each for each in self.records if since is None or each["at"] >= since]
        shown = listed[start : start + self.size]
        answer = web.json_response({"items": shown} | ({"total": len(listed)} if self.totals else {}))
        if self.etags:
            etag = f'"{hashlib.sha256(repr(shown).encode()).hexdigest()[:16]}"'
            answer.headers["ETag"] = etag
            if request.headers.get("If-None-Match") == etag:
                return web.Response(status=304, headers={"ETag": etag})
        if start + self.size < len(listed):
            number = int(query.get("page", "1")) + 1
            answer.headers["Link"] = f'<{request.url.update_query(page=str(number))}>; rel="next"'
        return answer
