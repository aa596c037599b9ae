"""Requests to a service: their bodies are decompressed here, and what helps an attacker is taken from the responses."""

import asyncio
from collections.abc import Callable

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage

from shared.errors import TooLarge
from shared.http.accepting.limits import LimitedConnection
from shared.http.bodies import ACCEPTED_ENCODINGS, BodyReader, UnsupportedEncoding, encoding_of
from shared.http.problem import replace_text

_ERROR = 400
_TEXTS = ("text/plain", "text/html")
"""What aiohttp itself responds with."""


def request_factory(body_limit: int) -> Callable[..., web.Request]:
    """Return what makes the requests of a listener; `body_limit` is the largest body in bytes."""

    def request(
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.Request:
        if (connection := _limited(protocol)) is not None:
            connection.request_began()
        loop = asyncio.get_running_loop()
        return _Request(message, payload, protocol, writer, task, loop, client_max_size=body_limit)

    return request


class _Request(web.Request):
    async def read(self) -> bytes:
        """Return the whole body, decompressed.

        Raises:
            HTTPRequestEntityTooLarge, HTTPUnsupportedMediaType, RequestPayloadError, Malformed: it cannot be read.
        """
        if self._read_bytes is None:
            reader = _body_reader(self, self.client_max_size)
            try:
                self._read_bytes = await reader.whole(self.content.readany)
            except TooLarge as exc:
                raise web.HTTPRequestEntityTooLarge(self.client_max_size) from exc
        return self._read_bytes

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        # aiohttp puts its own version and Python's there, which help an attacker. No other hook sees every response:
        # those to malformed requests as well.
        response.headers["Server"] = "trelay"
        # A browser that opens a response must not guess that it is a page: it may hold data of strangers.
        response.headers["X-Content-Type-Options"] = "nosniff"
        if isinstance(response, web.Response) and response.status >= _ERROR and response.content_type in _TEXTS:
            replace_text(response)
        if isinstance(response, web.Response) and (connection := _limited(self.protocol)) is not None:
            connection.response_began()  # a stream stays in progress
        await super()._prepare_hook(response)


def _body_reader(request: web.Request, limit: int) -> BodyReader:
    """Return what reads the body of a request, whose pieces come as they were sent. `limit` is in bytes.

    Raises:
        HTTPUnsupportedMediaType: the body has an encoding that is not read.
    """
    try:
        return BodyReader(encoding_of(request.headers), limit)
    except UnsupportedEncoding as exc:
        raise web.HTTPUnsupportedMediaType(text=str(exc), headers={"Accept-Encoding": ACCEPTED_ENCODINGS}) from exc


def _limited(protocol: web.RequestHandler) -> LimitedConnection | None:
    """Return the connection that a request came by; None if it is lost, or a WebSocket by now."""
    found = None if protocol.transport is None else protocol.transport.get_protocol()
    return found if isinstance(found, LimitedConnection) else None
