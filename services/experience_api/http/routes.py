"""The service's endpoints: requests in, answers out; what is decided is decided elsewhere."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import Counter

from services.experience_api import refusals
from services.experience_api.auth.consumers import Registration
from services.experience_api.auth.origin import Networks, Origin, origin
from services.experience_api.http.entity import Push, receipt
from services.experience_api.http.errors import refusing, response_to
from services.experience_api.http.push import Pushes
from services.experience_api.hub.close_codes import CloseReason
from services.experience_api.hub.connection import Subscriber
from services.experience_api.metrics import ACCEPTED, ExperienceMetrics
from services.experience_api.refusals import Refused
from services.experience_api.sessions.dependencies import Stream
from services.experience_api.sessions.handshake import Handshake, Knock
from services.experience_api.sessions.late_bound import Awaited

logger = logging.getLogger(__name__)

_VERSION = "13"
"""RFC 6455; those before it were drafts."""

_SECRET = {"Cache-Control": "no-store", "Pragma": "no-cache"}


@dataclass(frozen=True, slots=True)
class Entrance:
    """What is there once the database is."""

    registration: Registration
    handshake: Handshake


class Routes:
    """`/consumers`, `/ws/publish` and `/entity`."""

    def __init__(
        self,
        entrance: Awaited[Entrance],
        stream: Awaited[Stream],
        pushes: Pushes,
        *,
        proxies: Networks,
        metrics: ExperienceMetrics,
        days: float,
    ) -> None:
        """`proxies` are believed whom they forward for; `days`: how long after its last connection a token is good."""
        self._entrance = entrance
        self._stream = stream
        self._pushes = pushes
        self._proxies = proxies
        self._metrics = metrics
        self._days = days

    def add_to(self, app: web.Application) -> None:
        """Let an application answer these."""
        app.router.add_post("/consumers", _answering(self._register, self._metrics.registrations))
        app.router.add_delete("/consumers", _answering(self._forget, self._metrics.registrations))
        app.router.add_post("/entity", _answering(self._take, self._metrics.pushes))
        publish = _answering(self._publish, self._metrics.handshakes)
        app.router.add_get("/ws/publish", publish, allow_head=False)

    async def _register(self, request: web.Request) -> web.StreamResponse:
        registration = self._entrance.get().registration
        registered = await registration.register(request.headers, self._origin(request))
        self._metrics.registrations[ACCEPTED].inc()
        answer = {
            "client_id": registered.client_id,
            "token": registered.token,
            "token_type": "Bearer",
            "expires_after_days_disconnected": self._days,
        }
        return web.Response(
            status=201, body=json.dumps(answer).encode(), content_type="application/json", headers=_SECRET
        )

    async def _forget(self, request: web.Request) -> web.StreamResponse:
        await self._entrance.get().registration.forget(request.headers, self._origin(request))
        self._metrics.registrations[ACCEPTED].inc()
        return web.Response(status=204)

    async def _take(self, request: web.Request) -> web.StreamResponse:
        self._pushes.check(self._origin(request))
        appender = self._stream.get().appender
        events = await self._pushes.take(
            Push(request.headers, request.query, await self._pushes.body(request.read())), appender
        )
        self._metrics.pushes[ACCEPTED].inc()
        self._metrics.pushed_events.inc(len(events))
        return web.Response(status=202, body=receipt(events), content_type="application/json")

    async def _publish(self, request: web.Request) -> web.StreamResponse:
        headers = request.headers
        if headers.get("Upgrade", "").lower() != "websocket" or headers.get("Sec-WebSocket-Version") != _VERSION:
            raise Refused(refusals.UPGRADE_REQUIRED)
        knock = Knock(request.headers, request.query, self._origin(request))
        handshake, delivery = self._entrance.get().handshake, self._stream.get().delivery
        async with handshake.let_in(knock) as guest:
            self._metrics.handshakes[ACCEPTED].inc()
            served = await delivery.serve(
                request, guest.subscriber, guest.cursor, guest.protocols, arrived=guest.seat.occupy
            )
            _tell_end(guest.subscriber, served.reason)
        return served.response

    def _origin(self, request: web.Request) -> Origin:
        return origin(request.remote, request.headers, self._proxies)


def _answering(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], outcomes: Mapping[str, Counter]
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            with refusing(request.client_max_size):
                return await handler(request)
        except Refused as exc:
            outcomes[exc.refusal.code].inc()
            return response_to(exc)

    return answer


def _tell_end(subscriber: Subscriber, reason: CloseReason) -> None:
    client_id, connection_id = subscriber.client_id, str(subscriber.connection_id)
    logger.info(
        "a connection of client %s has ended: %s",
        client_id,
        reason.name,
        extra={"client_id": client_id, "connection_id": connection_id},
    )
