"""The service's endpoints: requests in, answers out; what is decided is decided elsewhere."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import Counter

from services.experience_api import refusals
from services.experience_api.allow_list import Networks, Origin, origin
from services.experience_api.awaited import Awaited
from services.experience_api.connections import CLOSE_REASONS
from services.experience_api.consumers import Registration
from services.experience_api.credentials import SUBPROTOCOL, in_subprotocol
from services.experience_api.delivery import Delivery
from services.experience_api.entity import Push, receipt
from services.experience_api.handshake import Handshake, Knock
from services.experience_api.hub.close_codes import CloseReason
from services.experience_api.hub.connection import Subscriber
from services.experience_api.metrics import ACCEPTED, ExperienceMetrics
from services.experience_api.push import Pushes
from services.experience_api.refusals import Refused
from services.experience_api.refusing import refusing, response_to
from shared.bus.protocol import Appender

logger = logging.getLogger(__name__)

_VERSION = "13"
"""RFC 6455; those before it were drafts."""

_CLOSE_WITHIN = 2.0
"""Seconds in which one that is closed right after the upgrade must answer the Close frame."""
_MESSAGE_BYTES = 1024
"""The largest message that is read of it meanwhile."""

_SECRET = {"Cache-Control": "no-store", "Pragma": "no-cache"}


@dataclass(frozen=True, slots=True)
class Entrance:
    """What is there once the database is."""

    registration: Registration
    handshake: Handshake


@dataclass(frozen=True, slots=True)
class Stream:
    """What is there once the bus is."""

    delivery: Delivery
    appender: Appender


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
        try:
            async with handshake.let_in(knock) as guest:
                self._metrics.handshakes[ACCEPTED].inc()
                served = await delivery.serve(
                    request, guest.subscriber, guest.cursor, guest.protocols, arrived=guest.seat.occupy
                )
                _tell_end(guest.subscriber, served.reason)
        except Refused as exc:
            reason = CLOSE_REASONS.get(exc.refusal)
            if reason is None or not in_subprotocol(request.headers):
                raise
            self._metrics.handshakes[exc.refusal.code].inc()
            return await _close(request, reason)
        return served.response

    def _origin(self, request: web.Request) -> Origin:
        return origin(request.remote, request.headers, self._proxies)


async def _close(request: web.Request, reason: CloseReason) -> web.WebSocketResponse:
    """Upgrade, and close at once: a script in a browser learns a close code, and nothing of an HTTP status."""
    socket = web.WebSocketResponse(
        timeout=_CLOSE_WITHIN, compress=False, max_msg_size=_MESSAGE_BYTES, protocols=(SUBPROTOCOL,)
    )
    await socket.prepare(request)
    await socket.close(code=reason.code, message=reason.text().encode())
    return socket


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
