"""What every endpoint of the admin API does: finds out who asks, and turns errors into problem details."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from services.experience_api.admin.clients import UnknownClient
from services.experience_api.auth.clients import ClientExists
from services.experience_api.http.errors import refusing
from shared.http.commands import FRESH, refuse
from shared.http.operators import Operator, Operators

Handle = Callable[[web.Request, Operator], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Authorized:
    """Lets operators in."""

    def __init__(self, operators: Operators) -> None:
        self._operators = operators

    def __call__(self, handle: Handle) -> Handler:
        """Return the handler of an endpoint. Nothing of a request is read before its operator is known."""

        async def handler(request: web.Request) -> web.StreamResponse:
            certificate = None if request.transport is None else request.transport.get_extra_info("peercert")
            operator = self._operators.identify(request.remote, request.headers, certificate)
            with refusing(request.client_max_size):
                try:
                    return await handle(request, operator)
                except UnknownClient as exc:
                    refuse(404, str(exc))
                except ClientExists as exc:
                    refuse(409, str(exc))

        return handler


def answer(found: Any, status: int = 200) -> web.Response:
    """Return a JSON object as a response."""
    return web.Response(status=status, body=json.dumps(found).encode(), content_type="application/json", headers=FRESH)
