"""The endpoints `/consumers` and `/entity`."""

import json
import random

from aiohttp import web

from services.experience_api.auth.consumers import Registration
from services.experience_api.http.entity import Push, receipt
from services.experience_api.http.outcomes import UNCACHED, Outcomes, counted
from services.experience_api.http.push import Pushes
from services.experience_api.metrics import ExperienceMetrics
from services.experience_api.sessions.dependencies import Stream
from services.experience_api.sessions.late_bound import LateBound
from shared.http.origin import Networks, Origin, origin
from shared.runtime.clock import Clock


class Routes:
    """Handles requests to the endpoints."""

    def __init__(  # noqa: PLR0913 -- what it serves, each from another part
        self,
        registration: LateBound[Registration],
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
        self._registrations = Outcomes(metrics.registrations, clock, rng)
        self._pushed = Outcomes(metrics.pushes, clock, rng)
        self._registration = registration
        self._stream = stream
        self._pushes = pushes
        self._proxies = proxies
        self._metrics = metrics
        self._days = days

    def add_to(self, app: web.Application) -> None:
        app.router.add_post("/consumers", counted(self._register, self._registrations))
        app.router.add_delete("/consumers", counted(self._unregister, self._registrations))
        app.router.add_post("/entity", counted(self._push, self._pushed))

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
            status=201, body=json.dumps(body).encode(), content_type="application/json", headers=UNCACHED
        )

    async def _unregister(self, request: web.Request) -> web.StreamResponse:
        await self._registration.get().unregister(request.headers, self._origin(request))
        self._registrations.accepted()
        return web.Response(status=204)

    async def _push(self, request: web.Request) -> web.StreamResponse:
        certificate = None if request.transport is None else request.transport.get_extra_info("peercert")
        producer = self._pushes.check(self._origin(request), request.headers, certificate)
        reader = self._pushes.reader(request.headers, request.client_max_size)
        stream = self._stream.get()
        body = await self._pushes.body(request.content.readany, reader)
        push = Push(request.headers, request.query, body)
        pushed = await self._pushes.append(push, producer, stream.appender, stream.once)
        self._pushed.accepted()
        self._metrics.pushed_events.inc(pushed.new)
        self._metrics.repeated_events.inc(len(pushed.events) - pushed.new)
        return web.Response(status=202, body=receipt(pushed.events), content_type="application/json")

    def _origin(self, request: web.Request) -> Origin:
        return origin(request.remote, request.headers, self._proxies)
