"""The endpoints for operators: `GET /sources`, and what they may ask of a source.

Any replica accepts a request. What is asked is kept in the database, and the replica that owns the source obeys it.
"""

import json
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from services.system_api.inquiries import Inquiries
from services.system_api.operations.controls import Controls
from services.system_api.operations.requests import Command, parse_place
from services.system_api.operations.store import SourceStore
from services.system_api.operations.windows import HOUR, HOURS_LIMIT, within
from services.system_api.overview import Overview
from shared.errors import Malformed, ProblemError, SettingsError, Unavailable
from shared.http.command_bodies import Body, parse_body, parse_reason
from shared.http.commands import FRESH, audit, refuse
from shared.http.operators import Operator, Operators
from shared.runtime.clock import Clock, parse_time, rfc3339

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SourceRoutes:
    """What the endpoints need."""

    overview: Overview
    controls: Controls
    store: SourceStore
    operators: Operators
    inquiries: Inquiries
    clock: Clock

    def add_to(self, app: web.Application) -> None:
        """Add the endpoints."""
        app.router.add_get("/sources", self._all)
        app.router.add_get("/sources/{name}", self._one)
        app.router.add_get("/sources/{name}/position", self._position)
        app.router.add_get("/sources/{name}/windows", self._windows)
        for action, handler in (
            ("pause", self._pause),
            ("resume", self._resume),
            ("poll", self._poll),
            ("rewind", self._rewind),
            ("snapshot", self._snapshot),
            ("reconcile", self._reconcile),
        ):
            app.router.add_post(f"/sources/{{name}}/{action}", handler)

    async def _all(self, request: web.Request) -> web.Response:
        self.operators.check_reader(request.remote, request.headers)
        return web.json_response(await self.overview.all(), headers=FRESH)

    async def _one(self, request: web.Request) -> web.Response:
        self.operators.check_reader(request.remote, request.headers)
        return await self._shown(self._source(request))

    async def _position(self, request: web.Request) -> web.Response:
        self.operators.check_reader(request.remote, request.headers)
        position = await _answered(self.inquiries.position(self._source(request)))
        return web.json_response({"position": position, "parts": len(position)}, headers=FRESH)

    async def _windows(self, request: web.Request) -> web.Response:
        self.operators.check_reader(request.remote, request.headers)
        source, hours = self._source(request), request.query.get("hours", "24")
        if not hours.isascii() or not hours.isdigit() or not 0 < int(hours[:6]) <= HOURS_LIMIT:
            raise Malformed(f"hours: found {hours[:20]!r}; expected a number from 1 to {HOURS_LIMIT}")
        since = self.clock.time() - int(hours) * HOUR
        windows = [
            {"from": rfc3339(window.began_at), "to": rfc3339(window.began_at + HOUR), **window.totals}
            for window in within(await self.store.windows(source, since), since)
        ]
        return web.json_response({"windows": windows}, headers=FRESH)

    async def _pause(self, request: web.Request) -> web.Response:
        operator, source, body = await self._command(request, {"reason"})
        reason = parse_reason(body)
        self.controls.of(source).update(await self.store.pause(source, operator.name, reason))
        audit("pause", operator, source=source, reason=reason)
        return await self._shown(source, status=202)

    async def _resume(self, request: web.Request) -> web.Response:
        operator, source, _ = await self._command(request, set())
        self.controls.of(source).update(await self.store.resume(source, operator.name))
        audit("resume", operator, source=source)
        return await self._shown(source, status=202)

    async def _poll(self, request: web.Request) -> web.Response:
        operator, source, _ = await self._command(request, set())
        if self.controls.of(source).current.paused:
            refuse(409, f"source {source} is paused; resume it first")
        self.controls.of(source).update(await self.store.poll(source))
        audit("poll", operator, source=source)
        return await self._shown(source, status=202)

    async def _rewind(self, request: web.Request) -> web.Response:
        operator, source, body = await self._command(request, {"to", "dry_run"})
        place = parse_place(body.get("to"))
        dry_run = body.get("dry_run", False)
        if not isinstance(dry_run, bool):
            raise Malformed("dry_run: expected true or false")
        if dry_run:
            return web.json_response(await _answered(self.inquiries.preview(source, place)), headers=FRESH)
        return await self._ask(source, operator, Command.REWIND, json.dumps(body["to"]))

    async def _snapshot(self, request: web.Request) -> web.Response:
        operator, source, _ = await self._command(request, set())
        return await self._ask(source, operator, Command.SNAPSHOT, None)

    async def _reconcile(self, request: web.Request) -> web.Response:
        operator, source, body = await self._command(request, {"from", "to"})
        since, until = (parse_time(name, body[name]) if name in body else None for name in ("from", "to"))
        audit("reconcile", operator, source=source)
        found = await _answered(self.inquiries.reconcile(source, since, until))
        shown = {
            "from": None if since is None else since.isoformat(),
            "to": None if until is None else until.isoformat(),
        }
        answer = {"name": source, **shown, **found}
        return web.json_response(answer, headers=FRESH)

    async def _ask(self, source: str, operator: Operator, command: Command, place: str | None) -> web.Response:
        self.controls.of(source).update(await self.store.request(source, command, place, operator.name))
        audit(command, operator, source=source, to=place)
        return await self._shown(source, status=202)

    async def _shown(self, source: str, status: int = 200) -> web.Response:
        found = (await self.overview.all())[source]
        return web.json_response({"name": source, **found}, status=status, headers=FRESH)

    async def _command(self, request: web.Request, members: set[str]) -> tuple[Operator, str, Body]:
        """Return who asks, of which source, and the body; its members may be `members`."""
        operator = self.operators.identify(request.remote, request.headers)
        source = self._source(request)
        return operator, source, parse_body(await request.read(), members)

    def _source(self, request: web.Request) -> str:
        name = request.match_info["name"]
        if name not in self.controls:
            refuse(404, f"there is no source {name[:63]!r}; GET /sources lists them")
        return name


async def _answered(inquiry: Awaitable[T]) -> T:
    """Await an inquiry; what cannot be answered is told to the operator."""
    try:
        return await inquiry
    except SettingsError as exc:
        raise Malformed(str(exc)) from exc
    except Unavailable as exc:
        raise ProblemError(str(exc), status=503, detail=str(exc), headers={"Retry-After": "1"}, members={}) from exc
