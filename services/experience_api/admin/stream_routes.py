"""The endpoints of the admin API for events: what is on the publish topic, and publishing to it."""

import uuid

from aiohttp import web
from multidict import MultiDict

from services.experience_api.admin.authorized import Authorized
from services.experience_api.admin.requests import read_limit
from services.experience_api.http.entity import Push, receipt
from services.experience_api.http.push import Pushes
from services.experience_api.hub.audience import Subscriber, narrow
from services.experience_api.producers.identity import Producer
from services.experience_api.sessions.dependencies import Stream
from services.experience_api.sessions.late_bound import LateBound
from services.experience_api.sessions.requested import read_requested, read_wait
from services.experience_api.wire.messages import cursor_of
from shared.http.commands import FRESH, audit
from shared.http.operators import Operator
from shared.runtime.clock import Clock

_EVERY_CHANNEL = ("**",)
_EVENTS, _EVENTS_LIMIT = 100, 10_000
_WAIT = "1"
"""Seconds to wait for events, unless the request says otherwise: long enough to read the bus."""


class StreamRoutes:
    """Handles the requests of operators."""

    def __init__(self, stream: LateBound[Stream], pushes: Pushes, authorized: Authorized, clock: Clock) -> None:
        self._stream = stream
        self._pushes = pushes
        self._authorized = authorized
        self._clock = clock

    def add_to(self, app: web.Application) -> None:
        """Add the endpoints."""
        app.router.add_get("/events", self._authorized(self._history), allow_head=False)
        app.router.add_post("/events", self._authorized(self._publish))

    async def _history(self, request: web.Request, operator: Operator) -> web.Response:
        """Serve an operator as a subscriber of every channel, without a claim."""
        limit = read_limit(request.query, _EVENTS, _EVENTS_LIMIT)
        wait = read_wait(MultiDict(wait=request.query.get("wait", _WAIT)))
        requested = read_requested(request.headers, request.query, ("limit", "wait"), now=self._clock.time())
        stream = self._stream.get()
        interest = narrow(_EVERY_CHANNEL, requested.channels, requested.filters, requested.conflate)
        snapshot = interest if requested.snapshot else None
        cursor = await stream.delivery.beginning.cursor(requested.cursor, requested.since, snapshot)
        subscriber = Subscriber(uuid.uuid4(), f"operator {operator.name}", interest)
        found = await stream.http.batch(request, subscriber, cursor, lambda _: None, wait)
        events, last = _limited(found.events, limit)
        body = found.encoded(events, last or found.cursor)
        return web.Response(body=body, content_type="application/json", headers=FRESH)

    async def _publish(self, request: web.Request, operator: Operator) -> web.Response:
        reader = self._pushes.reader(request.headers, request.client_max_size)
        stream = self._stream.get()
        body = await self._pushes.body(request.content.readany, reader)
        push = Push(request.headers, request.query, body)
        producer = Producer(f"operator {operator.name}", _EVERY_CHANNEL)
        pushed = await self._pushes.append(push, producer, stream.appender, stream.once)
        channels = sorted({event.channel for event in pushed.events})
        audit("publish", operator, count=len(pushed.events), channels=channels)
        return web.Response(status=202, body=receipt(pushed.events), content_type="application/json")


def _limited(events: list[bytes], limit: int) -> tuple[list[bytes], bytes | None]:
    """Return the first events, and the cursor after them; None if that is the cursor after all."""
    if len(events) <= limit:
        return events, None
    kept = events[:limit]
    return kept, next((cursor for each in reversed(kept) if (cursor := cursor_of(each)) is not None), None)
