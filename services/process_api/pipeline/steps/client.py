"""The HTTP client of a step: opened with the first request, closed with the pipeline."""

import asyncio
import re
from contextlib import AsyncExitStack

from yarl import URL

from services.process_api.pipeline.steps.context import StepContext
from shared.errors import Malformed
from shared.events import strict_json
from shared.http.client.client import HttpClient, Request, Response, opened_client
from shared.http.client.failures import RateLimited, shown
from shared.http.client.options import ClientOptions, ClientTlsOptions

_NO_TLS = ClientTlsOptions()
_LONGEST_PACE = 5.0
"""Seconds that a request waits for its turn in the budget; where that is further off, the partition is held instead."""


_BOM = b"\xef\xbb\xbf"
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([A-Za-z0-9._-]+)')


def json_body(response: Response, method: str, noun: str) -> bytes:
    """Return the body of a response as JSON text in UTF-8; `noun` is what errors call it.

    JSON is in UTF-8 (RFC 8259), whatever `Content-Type` says; where it is not, that is believed. A byte order mark is
    ignored.

    Raises:
        Malformed: it is not JSON.
    """
    body = response.body.removeprefix(_BOM)
    try:
        strict_json.check(body)
    except Malformed as exc:
        try:
            charset = _CHARSET.search(response.headers.get("content-type", "").lower())
            if charset is None or charset[1] in {"utf-8", "utf8"}:
                raise
            body = body.decode(charset[1]).encode()
            strict_json.check(body)
        except (Malformed, ValueError, LookupError):
            raise Malformed(f"{method} {shown(response.url, None)}: the {noun} is not JSON: {exc}") from exc
    return body


class BudgetSpent(RateLimited):
    """The settings permit no request now. The API has refused none."""


class LazyClient:
    """A client that is opened when it is needed."""

    def __init__(self, url: str, options: ClientOptions, context: StepContext, connections: int) -> None:
        """`url` has the origin that gets the credentials; `connections` is the most of them at the same time."""
        self._origin = URL(url.partition("{")[0])
        answers = context.answers
        # Without a connection, certificates are not needed.
        self._options = options if answers is None or answers.live else options.model_copy(update={"tls": _NO_TLS})
        self._context = context
        self._connections = connections
        self._turn = asyncio.Lock()
        self._client: HttpClient | None = None
        self._stack = AsyncExitStack()
        context.closing.push_async_callback(self._stack.aclose)

    async def get(self, url: URL) -> Response:
        """Request a URL. Raises what `HttpClient.get` does."""
        return await (await self._ready()).get(url)

    async def request(self, request: Request) -> Response:
        """Send any request. Raises what `HttpClient.request` does."""
        return await (await self._ready()).request(request)

    def _answer(self, request: Request) -> Response | None:
        answers = self._context.answers
        return None if answers is None else answers.of_request(self._context.place, request)

    async def _ready(self) -> HttpClient:
        async with self._turn:  # one after the other, so that those who wait are not sent together
            if self._client is None:
                place = f"process.pipelines.{self._context.pipeline}.{self._context.place}"
                opening = opened_client(place, self._origin, self._options, self._context.clock, self._connections + 1)
                self._client = await self._stack.enter_async_context(opening)
                self._client.answer = self._answer
            left = self._client.pace.wait(self._context.clock.monotonic())
            if left <= _LONGEST_PACE:
                left = await self._client.wait(_LONGEST_PACE)
            if left > 0:
                kind = RateLimited if self._client.held_for > 0 else BudgetSpent
                origin = shown(self._origin, None)
                raise kind(f"{origin}: no request for another {left:.0f} s, as its budget or the API wants")
            self._client.take_turn()
            return self._client
