"""The endpoints `/consumers`, `/ws/publish` and `/entity`."""

import json
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from aiohttp import web
from prometheus_client import Counter

from services.experience_api.auth.consumers import Registration
from services.experience_api.auth.credentials import SUBPROTOCOL, in_subprotocol
from services.experience_api.http.entity import Push, receipt
from services.experience_api.http.errors import refusing
from services.experience_api.http.gate import Gate
from services.experience_api.http.push import Pushes
from services.experience_api.http.retry_after import RetryAfter
from services.experience_api.http.upgrade import check_upgrade
from services.experience_api.hub.audience import Subscriber
from services.experience_api.hub.close_codes import CloseReason
from services.experience_api.metrics import ACCEPTED, ExperienceMetrics
from services.experience_api.refusals import Refused
from services.experience_api.sessions.connections import CLOSE_REASONS
from services.experience_api.sessions.dependencies import Stream
from services.experience_api.sessions.handshake import Handshake
from services.experience_api.sessions.late_bound import LateBound
from shared.http.origin import Networks, Origin, origin
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CLOSE_TIMEOUT = 2.0
"""Seconds that a peer refused after the upgrade has to answer the Close frame."""
_MESSAGE_LIMIT = 1024
"""Bytes of the largest message that is read from it meanwhile."""

_SECRET = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class _Outcomes:
    """Counts the outcomes of one endpoint, and spreads the times to retry that its refusals name."""

    def __init__(self, counters: Mapping[str, Counter], clock: Clock, rng: random.Random) -> None:
        self._counters = counters
        self._retry_after = RetryAfter(clock, rng)

    def accepted(self) -> None:
        self._counters[ACCEPTED].inc()
        self._retry_after.served()

    def refused(self, refused: Refused) -> Refused:
        """Count a refusal; return it with the time to wait that the response names."""
        self._counters[refused.refusal.label].inc()
        return self._retry_after.spread(refused)


class Routes:
    """Handles requests to the endpoints."""

    def __init__(  # noqa: PLR0913 -- what it serves, each from another part
        self,
        registration: LateBound[Registration],
        handshake: LateBound[Handshake],
        stream: LateBound[Stream],
        pushes: Pushes,
        *,
        proxies: Networks,
        metrics: ExperienceMetrics,
        days: float,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        """`proxies` are trusted to name the client's address; `days` is how long an unused token is valid."""
        self._registrations = _Outcomes(metrics.registrations, clock, rng)
        self._handshakes = _Outcomes(metrics.handshakes, clock, rng)
        self._gate = Gate()
        self._pushed = _Outcomes(metrics.pushes, clock, rng)
        self._registration = registration
        self._handshake = handshake
        self._stream = stream
        self._pushes = pushes
        self._proxies = proxies
        self._metrics = metrics
        self._days = days

    def add_to(self, app: web.Application) -> None:
        app.router.add_post("/consumers", _counted(self._register, self._registrations))
        app.router.add_delete("/consumers", _counted(self._unregister, self._registrations))
        app.router.add_post("/entity", _counted(self._push, self._pushed))
        app.router.add_get("/ws/publish", _counted(self._publish, self._handshakes), allow_head=False)

    async def _register(self, request: web.Request) -> web.StreamResponse:
        registered = await self._registration.get().register(request.headers, self._origin(request))
        self._registrations.accepted()
        body = {
            "client_id": registered.client_id,
            "token": registered.token,
            "token_type": "Bearer",
            "expires_after_days_disconnected": self._days,
        }
        return web.Response(
            status=201, body=json.dumps(body).encode(), content_type="application/json", headers=_SECRET
        )

    async def _unregister(self, request: web.Request) -> web.StreamResponse:
        await self._registration.get().unregister(request.headers, self._origin(request))
        self._registrations.accepted()
        return web.Response(status=204)

    async def _push(self, request: web.Request) -> web.StreamResponse:
        self._pushes.check(self._origin(request), request.headers.get("Content-Encoding", ""))
        appender = self._stream.get().appender
        body = await self._pushes.body(request.content.readany, request.client_max_size)
        events = await self._pushes.append(Push(request.headers, request.query, body), appender)
        self._pushed.accepted()
        self._metrics.pushed_events.inc(len(events))
        return web.Response(status=202, body=receipt(events), content_type="application/json")

    async def _publish(self, request: web.Request) -> web.StreamResponse:
        headers = request.headers
        check_upgrade(request)
        await self._gate.enter()
        handshake, delivery = self._handshake.get(), self._stream.get().delivery
        try:
            gone = partial(_gone, request)
            async with handshake.admit(headers, request.query, self._origin(request), gone) as slot:
                self._handshakes.accepted()
                served = await delivery.serve(
                    request, slot.subscriber, slot.cursor, slot.protocols, on_open=slot.attach
                )
                _log_end(slot.subscriber, served.reason)
        except Refused as exc:
            reason = CLOSE_REASONS.get(exc.refusal)
            if reason is None or not in_subprotocol(headers):
                raise
            self._handshakes.refused(exc)
            return await _refuse_after_upgrade(request, reason)
        return served.response

    def _origin(self, request: web.Request) -> Origin:
        return origin(request.remote, request.headers, self._proxies)


def _gone(request: web.Request) -> bool:
    """Return whether the peer of a request has disconnected."""
    return request.transport is None or request.transport.is_closing()


async def _refuse_after_upgrade(request: web.Request, reason: CloseReason) -> web.WebSocketResponse:
    """Upgrade and close at once: a script in a browser can read a close code, but not the status of the response."""
    socket = web.WebSocketResponse(
        timeout=_CLOSE_TIMEOUT, compress=False, max_msg_size=_MESSAGE_LIMIT, protocols=(SUBPROTOCOL,)
    )
    await socket.prepare(request)
    await socket.close(code=reason.code, message=reason.text().encode())
    return socket


def _counted(handler: Handler, outcomes: _Outcomes) -> Handler:
    """Count the refusals of a handler; the middleware of the application responds to them."""

    async def counting(request: web.Request) -> web.StreamResponse:
        try:
            with refusing(request.client_max_size):
                return await handler(request)
        except Refused as exc:
            raise outcomes.refused(exc) from exc

    return counting


def _log_end(subscriber: Subscriber, reason: CloseReason) -> None:
    logger.info(
        "connection ended",
        extra={
            "client_id": subscriber.client_id,
            "connection_id": str(subscriber.connection_id),
            "code": reason.code,
            "reason": reason.name,
        },
    )
