"""The response to a request that waits, which may begin before there is anything to respond with.

Only a write shows that a peer has vanished, or that it has closed its connection to a proxy that does not pass that on.
White space may precede JSON.
"""

import asyncio
from collections.abc import Mapping

from aiohttp import web

_TYPE = "application/json"
_WHITE_SPACE = b"\n"


class EarlyResponse:
    """The response to one request, whose body is JSON."""

    def __init__(self, request: web.Request, headers: Mapping[str, str]) -> None:
        self._request = request
        self._headers = headers
        self._begun: web.StreamResponse | None = None
        self._writing = asyncio.Lock()
        self._is_whole = False

    async def probe(self) -> None:
        """Begin the response if that is still to be done, and write white space.

        Raises:
            ConnectionError: the peer has disconnected.
        """
        async with self._writing:
            if self._is_whole:
                return
            if self._begun is None:
                self._begun = web.StreamResponse(headers={**self._headers, "Content-Type": _TYPE})
                # As an event stream does: the limits of connections count idle ones from the headers of a response on.
                self._begun.force_close()
            await self._begun.prepare(self._request)
            await self._begun.write(_WHITE_SPACE)

    async def whole(self, body: bytes) -> web.StreamResponse:
        """Return the whole response, after which a probe writes nothing.

        Raises:
            ConnectionError: the peer has disconnected, after the response had begun.
        """
        async with self._writing:
            self._is_whole = True
            if self._begun is None:
                return web.Response(body=body, content_type=_TYPE, headers=self._headers)
            await self._begun.prepare(self._request)
            await self._begun.write(body)
            return self._begun
