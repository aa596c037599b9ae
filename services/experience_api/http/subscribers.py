"""The endpoints of subscribers: `/ws/publish`, `/sse/publish`, `/events` and `/tickets`.

All of them admit a request in the same way, and hold the same one connection of the client.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from aiohttp import HttpVersion11, web

from services.experience_api import refusals
from services.experience_api.auth.credentials import SUBPROTOCOL, in_subprotocol, offered_protocols
from services.experience_api.auth.tokens import TICKET_SECONDS
from services.experience_api.http.gate import Gate
from services.experience_api.http.outcomes import UNCACHED, Outcomes, counted, gone, log_end
from services.experience_api.http.pages import Pages
from services.experience_api.http.upgrade import check_upgrade
from services.experience_api.hub import close_codes
from services.experience_api.hub.close_codes import CloseReason
from services.experience_api.hub.early_response import EarlyResponse
from services.experience_api.metrics import ExperienceMetrics
from services.experience_api.refusals import Refused
from services.experience_api.sessions.close_reasons import REFUSED_CLOSE_REASONS
from services.experience_api.sessions.dependencies import Stream
from services.experience_api.sessions.handshake import Handshake, of_genuine
from services.experience_api.sessions.late_bound import LateBound
from services.experience_api.sessions.requested import check_one_way, read_wait
from services.experience_api.sessions.slots import ConnectionSlot
from shared.http.origin import Networks, Origin, origin
from shared.runtime.clock import Clock

_BODY_TIMEOUT = 10.0
"""Seconds in which the list of channels has to arrive."""
_CLOSE_TIMEOUT = 2.0
"""Seconds that a peer refused after the upgrade has to answer the Close frame."""
_MESSAGE_LIMIT = 1024
"""Bytes of the largest message that is read from it meanwhile."""

_REASONS = REFUSED_CLOSE_REASONS | {
    refusals.ALREADY_CONNECTED: close_codes.ALREADY_CONNECTED,
    refusals.UNAVAILABLE: close_codes.UNAVAILABLE,
    refusals.BUSY: close_codes.UNAVAILABLE,
    refusals.DRAINING: close_codes.DRAINING,
    refusals.CHANNEL_NOT_PERMITTED: close_codes.NOT_PERMITTED,
    refusals.LOOPBACK_ONLY: close_codes.NOT_PERMITTED,
    refusals.MALFORMED: close_codes.MALFORMED,
}
"""The close reason for each refusal of a genuine token."""


class SubscriberRoutes:
    """Handles requests of subscribers."""

    def __init__(
        self,
        handshake: LateBound[Handshake],
        stream: LateBound[Stream],
        pages: Pages,
        *,
        proxies: Networks,
        metrics: ExperienceMetrics,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        """`proxies` are trusted to name the client's address."""
        self._handshakes = Outcomes(metrics.handshakes, clock, rng)
        self._tickets = Outcomes(metrics.tickets, clock, rng)
        self._subscriptions = Outcomes(metrics.subscriptions, clock, rng)
        self._gate = Gate()
        self._handshake = handshake
        self._stream = stream
        self._pages = pages
        self._proxies = proxies

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/ws/publish", counted(self._socket, self._handshakes), allow_head=False)
        app.router.add_get("/sse/publish", counted(self._event_stream, self._handshakes), allow_head=False)
        app.router.add_get("/events", counted(self._events, self._handshakes), allow_head=False)
        app.router.add_post("/tickets", counted(self._ticket, self._tickets))
        app.router.add_post("/subscriptions", counted(self._subscribe, self._subscriptions))

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        check_upgrade(request)
        try:
            async with self._admitted(request) as slot:
                delivery = self._stream.get().delivery
                cursor = await delivery.beginning.cursor(slot.cursor, slot.since, slot.snapshot_of)
                served = await delivery.serve(request, slot.subscriber, cursor, slot.protocols, on_open=slot.attach)
                slot.ended = served.reason
                log_end(slot.subscriber, served.reason)
        except Refused as exc:
            reason = _REASONS.get(exc.refusal)
            if reason is None or not exc.genuine or not _from_script(request):
                raise
            return await _refuse_after_upgrade(request, reason, self._handshakes.refused(exc).retry_after)
        return served.response

    async def _event_stream(self, request: web.Request) -> web.StreamResponse:
        if request.version < HttpVersion11:
            raise Refused(refusals.MALFORMED, "found HTTP/1.0; expected HTTP/1.1 (nginx: proxy_http_version 1.1)")
        check_one_way(request.query)
        async with self._admitted(request) as slot:
            stream = self._stream.get()
            cursor = await stream.delivery.beginning.cursor(slot.cursor, slot.since, slot.snapshot_of)
            served = await stream.http.stream(request, slot.subscriber, cursor, slot.attach)
            slot.ended = served.reason
            log_end(slot.subscriber, served.reason)
        return served.response

    async def _events(self, request: web.Request) -> web.StreamResponse:
        wait = read_wait(request.query)
        check_one_way(request.query)
        response = EarlyResponse(request, UNCACHED)
        async with self._admitted(request, "wait") as slot:
            stream = self._stream.get()
            cursor = await stream.delivery.beginning.cursor(slot.cursor, slot.since, slot.snapshot_of)
            found = await stream.http.batch(request, slot.subscriber, cursor, slot.attach, wait, response.probe)
            slot.ended = found.ending
        return await response.whole(found.encoded(found.events, found.cursor))

    async def _ticket(self, request: web.Request) -> web.StreamResponse:
        page = self._pages.bound(request)
        ticket = await self._handshake.get().ticket(request.headers, page, self._origin(request))
        self._tickets.accepted()
        body = {"ticket": ticket, "expires_in": TICKET_SECONDS, "origin": page or None}
        return web.Response(
            status=201, body=json.dumps(body).encode(), content_type="application/json", headers=UNCACHED
        )

    async def _subscribe(self, request: web.Request) -> web.StreamResponse:
        self._pages.check(request)
        body, origin = partial(_body, request), self._origin(request)
        found = await self._handshake.get().subscribe(request.headers, request.query, body, origin)
        self._subscriptions.accepted()
        made = {"channels": found.channels, "cursor": found.cursor or None}
        return web.Response(body=json.dumps(made).encode(), content_type="application/json", headers=UNCACHED)

    @asynccontextmanager
    async def _admitted(self, request: web.Request, *more: str) -> AsyncIterator[ConnectionSlot]:
        """Hold the client's slot while the context is open."""
        self._pages.check(request)
        await self._gate.enter()
        handshake, _ = self._handshake.get(), self._stream.get()
        origin = self._origin(request)
        async with handshake.admit(request.headers, request.query, origin, partial(gone, request), more) as slot:
            self._handshakes.accepted()
            with of_genuine(slot.token.client_id):
                yield slot

    def _origin(self, request: web.Request) -> Origin:
        return origin(request.remote, request.headers, self._proxies)


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(_BODY_TIMEOUT):
            return await request.read()
    except TimeoutError as exc:
        raise Refused(refusals.TOO_SLOW) from exc


def _from_script(request: web.Request) -> bool:
    """Return whether a script in a browser may have sent an upgrade: it cannot read the status of the response."""
    headers = request.headers
    return in_subprotocol(headers) or ("ticket" in request.query and SUBPROTOCOL in offered_protocols(headers))


async def _refuse_after_upgrade(request: web.Request, reason: CloseReason, wait: float | None) -> web.WebSocketResponse:
    """Upgrade and close at once: a script in a browser can read a close code, but not the status of the response."""
    socket = web.WebSocketResponse(
        timeout=_CLOSE_TIMEOUT, compress=False, max_msg_size=_MESSAGE_LIMIT, protocols=(SUBPROTOCOL,)
    )
    await socket.prepare(request)
    await socket.close(code=reason.code, message=reason.text(wait if reason.reconnect else None).encode())
    return socket
