"""The request that begins a stream: what the responses to it say about the next one."""

from collections.abc import Mapping
from http import HTTPStatus

from shared.errors import Unauthorized, Unavailable
from shared.http.client.client import HttpClient
from shared.http.client.failures import UnusableResponse
from shared.http.client.pace import Pace

_RETRIED = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY}


class Handshake:
    """The requests of one stream. It outlives a connection, and so does the pause that a server asks for."""

    def __init__(self, name: str) -> None:
        """`name` is how errors name the stream."""
        self._name = name
        self._pace = Pace(None)
        self._refused = name

    def begin(self, client: HttpClient) -> None:
        """Let a client of a new connection keep the pace.

        Raises:
            Unavailable: the server, or the one that issues tokens, wants no request yet.
        """
        client.pace = self._pace
        if (left := client.held_for) > 0:
            raise Unavailable(f"{self._refused}: the server wants no request for {left:.0f} s")

    def check(self, status: int, headers: Mapping[str, str], client: HttpClient, credentials: dict[str, str]) -> None:
        """Check the response that begins a stream; its pause is obeyed by the next request.

        Raises:
            Unavailable, Unauthorized, UnusableResponse: it does not begin one.
        """
        if status in {HTTPStatus.OK, HTTPStatus.SWITCHING_PROTOCOLS}:
            return
        self._refused = f"{self._name}: {status}"
        limited = client.limited(status, headers)
        if limited or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _RETRIED:
            raise Unavailable(self._refused)
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            client.authentication.refused(credentials)
            raise Unauthorized(f"{self._refused}; check `auth`")
        raise UnusableResponse(self._refused, status)
