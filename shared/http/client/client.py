"""Sends the requests of one source or step: follows redirects within the rules, renews a refused token, keeps the pace.

A response is either the one that was asked for, or an error: 5xx, 408, 425 and 429 are `Unavailable`, 401 and 403
`Unauthorized`, and any other status `UnusableResponse`.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import NamedTuple

import aiohttp
from yarl import URL

from shared.errors import Malformed, Unauthorized, Unavailable
from shared.http.bodies import ACCEPTED_ENCODINGS, BodyReader
from shared.http.client.authentication import Authentication, authentication
from shared.http.client.connecting import CONNECTIONS, RedirectNotFollowed, connector, tls_context, without_redirects
from shared.http.client.failures import (
    HEAD_BYTES,
    RateLimited,
    UnusableResponse,
    head,
    shown,
    translated,
)
from shared.http.client.options import ClientOptions, RequestOptions
from shared.http.client.pace import Pace
from shared.http.client.retry_after import exhausted_for, retry_after
from shared.http.client.spans import request_span
from shared.http.client.tokens import Token, parse_token
from shared.runtime.clock import Clock

_REDIRECTS = 5
_TOKEN_LIMIT = 64 * 1024
_FIELD_LIMIT = 64 * 1024
"""Bytes of one header: a `Link` with long cursors is above aiohttp's default of 8 KiB."""
_REDIRECTING = {301, 302, 303, 307, 308}
_RETRIED = {408, 425}
_AGENT = {"User-Agent": "Trelay", "Accept-Encoding": ACCEPTED_ENCODINGS}


class Response(NamedTuple):
    """A response: success, or 304 where the request had conditions."""

    url: URL
    """Where it came from, after redirects."""
    status: int
    headers: Mapping[str, str]
    """By name in lower case."""
    links: tuple[str, ...]
    """The values of the header `Link`."""
    body: bytes

    @property
    def unchanged(self) -> bool:
        """Whether the API says that nothing has changed."""
        return self.status == HTTPStatus.NOT_MODIFIED


class Request(NamedTuple):
    """A request."""

    method: str
    url: URL
    headers: Mapping[str, str] = {}
    body: bytes | None = None


class HttpClient:
    """The client of one source; see `opened_client`."""

    def __init__(self, session: aiohttp.ClientSession, origin: URL, options: ClientOptions, clock: Clock) -> None:
        self.pace = Pace(options.rate)
        self.session = session
        self.answer: Callable[[Request], Response | None] = _none
        """Answers a request in the place of the API, in tests; None: the request is sent."""
        self.authentication: Authentication = authentication(options.auth, self._request_token, clock)
        self._origin = origin
        self._options = options
        self._propagates = isinstance(options, RequestOptions) and options.propagate_trace
        self._clock = clock
        self._turns = 0

    async def wait(self, limit: float) -> float:
        """Wait until the pace allows a request, at most `limit` seconds; return how many are left to wait."""
        left = self.pace.wait(self._clock.monotonic())
        if left > 0:
            await self._clock.sleep(min(left, limit))
            left = self.pace.wait(self._clock.monotonic())
        return left

    def take_turn(self) -> None:
        """Count a request that is sent next, before others look at the pace; `wait` has returned 0."""
        self.pace.sent(self._clock.monotonic())
        self._turns += 1

    @property
    def held_for(self) -> float:
        """The seconds for which the API wants no request."""
        return self.pace.held_for(self._clock.monotonic())

    async def request(self, request: Request) -> Response:
        """Send any request. No redirect is followed: it would send the content, and what it causes, elsewhere.

        Raises what `get` does.
        """
        response = await self._send(request)
        if response.status in _REDIRECTING:
            refused = RedirectNotFollowed(response.status, response.headers.get("location", ""))
            raise UnusableResponse(f"{self.name(request.url, request.method)}: {refused}")
        return self._checked(response, request.method, conditional=False)

    async def get(self, url: URL, headers: Mapping[str, str] | None = None) -> Response:
        """Request a URL; `headers` are added to those of the settings.

        Raises:
            Unavailable: a retry may succeed. `RateLimited`, where the pace waits as long as the API wants.
            Unauthorized: the credentials are not accepted.
            UnusableResponse: any other status, a redirect too many, a body that is too large or cannot be decompressed.
            SettingsError: the address is not allowed.
        """
        for _ in range(_REDIRECTS + 1):
            response = await self._send(Request("GET", url, headers or {}))
            if response.status not in _REDIRECTING:
                return self._checked(response, "GET", conditional=bool(headers))
            url = self._target(response)
        raise UnusableResponse(f"{self.name(url)}: more than {_REDIRECTS} redirects")

    def name(self, url: URL, method: str = "GET") -> str:
        """Return how errors name a request."""
        return f"{method} {shown(url, self.authentication.query_parameter)}"

    def trusted(self, url: URL) -> bool:
        """Whether a URL may get the credentials: it is of the origin of the settings, or the same over TLS."""
        upgraded = url.scheme == "https" and url.host == self._origin.host and url.is_default_port()
        return url.origin() == self._origin.origin() or (upgraded and self._origin.is_default_port())

    def limited(self, status: int, headers: Mapping[str, str]) -> bool:
        """Obey what a refusal says about the pace; return whether the rate is its reason."""
        now, said = self._clock.time(), _lower(headers)
        stated, exhausted = retry_after(said, now), exhausted_for(said, now)
        limited = status == HTTPStatus.TOO_MANY_REQUESTS or (
            status == HTTPStatus.FORBIDDEN and (exhausted is not None or stated is not None)
        )
        if limited or status == HTTPStatus.SERVICE_UNAVAILABLE:
            self._hold(max(stated or 0.0, (exhausted or 0.0) if limited else 0.0))
        return limited

    async def _send(self, request: Request) -> Response:
        """Send one request; with a token that is refused, send it again with a new one."""
        url = request.url
        with translated(self.name(url, request.method), self._options.timeout):
            answered = self.answer(request)
        if answered is not None:
            return answered
        if not self.trusted(url):
            return await self._request(request, url, {**_AGENT, **request.headers})
        credentials = await self.authentication.headers()
        own = {**_AGENT, **self._options.headers, **request.headers}
        full = url.update_query(self.authentication.query()) if self.authentication.query() else url
        response = await self._request(request, full, own | credentials)
        if response.status == HTTPStatus.UNAUTHORIZED and self.authentication.refused(credentials):
            response = await self._request(request, full, own | await self.authentication.headers())
        return response._replace(url=url)  # without a key in its query

    async def _request(self, request: Request, url: URL, headers: Mapping[str, str]) -> Response:
        name = self.name(url, request.method)
        if self._turns:
            self._turns -= 1
        else:
            self.pace.sent(self._clock.monotonic())
        with translated(name, self._options.timeout), request_span(request.method, url) as span:
            if self._propagates and self.trusted(url):
                headers = {**headers, **span.headers}
            async with self.session.request(
                request.method, url, headers=headers, data=request.body, allow_redirects=False
            ) as response:
                span.status = response.status
                found = _lower(response.headers)
                links = tuple(response.headers.getall("Link", ()))
                body = await self._body(name, response)
        return Response(url, response.status, found, links, body)

    async def _body(self, name: str, response: aiohttp.ClientResponse) -> bytes:
        """Read the body; of a failure, only its beginning."""
        encoding, success = response.headers.get("Content-Encoding", ""), response.status < HTTPStatus.MULTIPLE_CHOICES
        reader: BodyReader | None = None
        try:
            reader = BodyReader(encoding, self._options.response_limit if success else HEAD_BYTES)
            return await reader.whole(response.content.readany)
        except Malformed as exc:
            response.close()  # what is left of it is not read
            if success:
                raise UnusableResponse(f"{name}: {exc}") from exc
            return b"" if reader is None else reader.beginning

    def _target(self, response: Response) -> URL:
        name, location = self.name(response.url), response.headers.get("location", "")
        try:
            target = response.url.join(URL(location))
        except ValueError as exc:
            raise UnusableResponse(f"{name}: {response.status} to {location[:100]!r}, which is no URL") from exc
        if not location or target.scheme not in {"http", "https"} or not target.host or target.user:
            raise UnusableResponse(f"{name}: {response.status} to {location[:100]!r}; expected http or https")
        if response.url.scheme == "https" and target.scheme == "http":
            raise UnusableResponse(
                f"{name}: {response.status} from https to {shown(target, None)}, which is not encrypted"
            )
        return target

    def _checked(self, response: Response, method: str, *, conditional: bool) -> Response:
        """Return a response that is a success, and obey what any response says about the pace."""
        status, name = response.status, self.name(response.url, method)
        wait = exhausted_for(response.headers, self._clock.time())
        if status < HTTPStatus.MULTIPLE_CHOICES or (status == HTTPStatus.NOT_MODIFIED and conditional):
            if wait is not None:
                self._hold(wait)
            return response
        text = f"{name}: {status} {_phrase(status)}: {head(response.body)}"
        if self.limited(status, response.headers):
            raise RateLimited(text)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _RETRIED:
            raise Unavailable(text)
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise Unauthorized(f"{text}; check `auth`")
        raise UnusableResponse(text, status, response.body)

    def _hold(self, seconds: float) -> None:
        self.pace.hold(self._clock.monotonic(), min(seconds, self._options.longest_hold))

    async def _request_token(self, url: URL, form: dict[str, str], headers: dict[str, str]) -> Token:
        """Request a token. A redirect is an error: it would hand the client's secret to another URL."""
        name = f"POST {shown(url, None)}"
        with translated(name, self._options.timeout), request_span("POST", url) as span:
            async with self.session.post(url, data=form, headers=_AGENT | headers, allow_redirects=False) as response:
                span.status = response.status
                try:
                    reader = BodyReader(response.headers.get("Content-Encoding", ""), _TOKEN_LIMIT)
                    body = await reader.whole(response.content.readany)
                except Malformed as exc:
                    raise Unavailable(f"{name}: {exc}") from exc
        if response.status == HTTPStatus.OK:
            try:
                return parse_token(body)
            except Unavailable as exc:
                raise Unavailable(f"{name}: {exc}") from exc
        text = f"{name}: {response.status} {_phrase(response.status)}: {head(body)}"
        if self.limited(response.status, response.headers):
            raise RateLimited(text)
        if (
            HTTPStatus.BAD_REQUEST <= response.status < HTTPStatus.INTERNAL_SERVER_ERROR
            and response.status != HTTPStatus.REQUEST_TIMEOUT
        ):
            raise Unauthorized(f"{text}; check `auth`")
        raise Unavailable(text)


def _none(_request: Request) -> None:
    """Leave a request to the API."""


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {field.lower(): value for field, value in headers.items()}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(unknown status)"


@asynccontextmanager
async def opened_client(
    place: str, url: URL, options: ClientOptions, clock: Clock, connections: int = CONNECTIONS
) -> AsyncIterator[HttpClient]:
    """Open a client; `url` has the origin that gets the credentials, `place` is the path of the settings.

    Raises:
        SettingsError: a certificate cannot be used.
    """
    connecting = connector(options.network.rules(), tls_context(place, options.tls), connections)
    async with aiohttp.ClientSession(
        connector=connecting,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=options.timeout),
        auto_decompress=False,  # `BodyReader` bounds what a body decompresses to
        max_field_size=_FIELD_LIMIT,
        max_line_size=_FIELD_LIMIT,
        requote_redirect_url=False,
        trace_configs=[without_redirects()],
    ) as session:
        yield HttpClient(session, url, options, clock)
