"""The endpoint `POST /hooks/{source}`, which any replica serves."""

from collections.abc import Mapping

from aiohttp import web

from services.system_api.sources.http.webhook import metrics, refusals
from services.system_api.sources.http.webhook.receiver import Receiver, Request
from services.system_api.sources.http.webhook.refusals import Refused

_FRESH = {"Cache-Control": "no-store"}


class HookRoutes:
    """What the endpoint needs."""

    def __init__(self, receivers: Mapping[str, Receiver]) -> None:
        """`receivers` are by source."""
        self._receivers = receivers

    def add_to(self, app: web.Application) -> None:
        """Add the endpoint."""
        app.router.add_post("/hooks/{source}", self._receive)

    async def _receive(self, request: web.Request) -> web.Response:
        receiver = self._receivers.get(request.match_info["source"])
        if receiver is None:
            raise Refused(refusals.UNKNOWN_SOURCE)
        given = Request(request.headers, request.content_length, request.content.readany, request.remote or "")
        answer = await receiver.receive(given)
        if answer.challenge is not None:
            return web.Response(body=answer.challenge, content_type="application/json", headers=_FRESH)
        repeated = answer.outcome == metrics.REPEATED
        return web.json_response({"status": "repeated" if repeated else "accepted"}, headers=_FRESH)
