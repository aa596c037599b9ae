"""The endpoints for operators of the process layer: `GET /pipelines`, and what they may ask of a pipeline.

Any replica accepts a request. What is asked is kept on the bus, and every replica obeys it in its partitions.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from services.process_api import rewinding
from services.process_api.operations.controls import Controls, Request
from services.process_api.operations.exclusive import ExclusiveRequests
from services.process_api.operations.overview import Overview
from services.process_api.operations.requests import Control, Reload
from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.pipeline.selection import Selection
from shared.bus.protocol import Bus, Writer
from shared.composition.bus import BusConnection
from shared.errors import Fenced, Malformed, SettingsError, Unavailable
from shared.http.command_bodies import Body, parse_body, parse_reason
from shared.http.commands import FRESH, audit, refuse
from shared.http.operators import Operator, Operators
from shared.runtime.clock import Clock
from shared.runtime.reloading import Reread


@dataclass(frozen=True, slots=True)
class PipelineRoutes:
    """What the endpoints need."""

    selection: Callable[[], Selection]
    """Returns the pipelines that run now."""
    overview: Overview
    controls: Controls
    exclusive: ExclusiveRequests
    operators: Operators
    bus: BusConnection
    ingest: str
    """The topic that pipelines read."""
    reread: Callable[[], Reread | None]
    """Returns what reads the settings file again; None without one."""
    node: str
    clock: Clock

    def add_to(self, app: web.Application) -> None:
        """Add the endpoints."""
        app.router.add_get("/pipelines", self._all)
        app.router.add_get("/pipelines/{name}", self._one)
        app.router.add_post("/pipelines/reload", self._reload)
        app.router.add_post("/pipelines/{name}/pause", self._pause)
        app.router.add_post("/pipelines/{name}/resume", self._resume)
        app.router.add_post("/pipelines/{name}/rewind", self._rewind)

    async def _all(self, request: web.Request) -> web.Response:
        self.operators.check_reader(request.remote, request.headers)
        return web.json_response(await self.overview.all(self._connected()), headers=FRESH)

    async def _one(self, request: web.Request) -> web.Response:
        self.operators.check_reader(request.remote, request.headers)
        return await self._shown(self._pipeline(request).name)

    async def _reload(self, request: web.Request) -> web.Response:
        operator = self.operators.identify(request.remote, request.headers)
        parse_body(await request.read(), ())
        reread = self.reread()
        if reread is None:
            refuse(409, "this process has no settings file to read again")
        bus = self._available()
        try:
            loaded = await reread()
            await self.controls.reload(bus, Reload(secrets.token_hex(8), self.node))
        except SettingsError as exc:
            refuse(422, f"nothing has changed: {exc}")
        except Unavailable as exc:
            refuse(503, f"reloaded on this replica alone: {exc}", {"Retry-After": "1"})
        audit("reload", operator, parts=loaded)
        versions = {pipeline.name: pipeline.version for pipeline in self.selection().pipelines}
        return web.json_response({"reloaded": loaded, "versions": versions}, status=202, headers=FRESH)

    async def _pause(self, request: web.Request) -> web.Response:
        operator, pipeline, body = await self._command(request, {"reason"})
        reason = parse_reason(body)
        control = Control(paused=True, reason=reason, by=operator.name, at=self.clock.time())
        accepted = await self.controls.control(self._available(), pipeline.name, control)
        audit("pause", operator, pipeline=pipeline.name, reason=reason)
        return await self._shown(pipeline.name, accepted, status=202)

    async def _resume(self, request: web.Request) -> web.Response:
        operator, pipeline, _ = await self._command(request, set())
        control = Control(by=operator.name, at=self.clock.time())
        accepted = await self.controls.control(self._available(), pipeline.name, control)
        audit("resume", operator, pipeline=pipeline.name)
        return await self._shown(pipeline.name, accepted, status=202)

    async def _rewind(self, request: web.Request) -> web.Response:
        operator, pipeline, body = await self._command(request, {"to", "dry_run", "reset_state"})
        place = rewinding.parse_place(body.get("to"))
        dry_run, reset_state = _flag(body, "dry_run"), _flag(body, "reset_state")
        bus, name = self._available(), pipeline.name

        async def ask(writer: Writer) -> Request | None:
            epoch = await bus.epoch(self.ingest)
            positions = await self.overview.positions(bus, name)
            if pipeline.parts > 1 and positions.pending:
                refuse(409, f"pipeline {name}: {_REPARTITIONED}", {"Retry-After": "5"})
            partitions = await rewinding.plan(bus, self.ingest, positions.offsets, place)
            if not partitions:
                refuse(409, f"pipeline {name} has not passed that place in any partition: nothing would run again")
            to = {number: partition.to for number, partition in partitions.items()}
            if pipeline.parts > 1:
                to = positions.offsets | to
            asked = rewinding.request(
                epoch, to, body["to"], operator.name, self.clock, reset_state=reset_state, after=positions.rewind
            )
            return await self.controls.rewind(writer, name, asked)

        try:
            if dry_run:
                return await self._planned(bus, pipeline, place, reset_state=reset_state)
            if pipeline.stateful and not reset_state:
                refuse(409, f"pipeline {name}: {_STATEFUL}")
            accepted = await self.exclusive.run(bus, ask)
        except Fenced:
            refuse(409, "another rewind is asked for at the same moment, try again", {"Retry-After": "5"})
        except Unavailable as exc:
            refuse(503, str(exc), {"Retry-After": "1"})
        audit("rewind", operator, pipeline=name, to=json.dumps(body["to"]))
        return await self._shown(name, accepted, status=202)

    async def _planned(
        self, bus: Bus, pipeline: Pipeline, place: rewinding.Place, *, reset_state: bool
    ) -> web.Response:
        positions = await self.overview.positions(bus, pipeline.name)
        partitions = await rewinding.plan(bus, self.ingest, positions.offsets, place)
        counts, exact = await rewinding.count(bus, self.ingest, pipeline, partitions, self.clock)
        planned = {
            "name": pipeline.name,
            "partitions": {
                str(number): {"position": position, "to": to, "events": counts[number]}
                for number, (position, to) in partitions.items()
            },
            "events": sum(counts.values()),
            "exact": exact,
            "refused": _STATEFUL if pipeline.stateful and not reset_state else None,
        }
        return web.json_response(planned, headers=FRESH)

    async def _shown(self, name: str, accepted: Request | None = None, status: int = 200) -> web.Response:
        found = (await self.overview.all(self._connected(), accepted)).get(name)
        if found is None:
            refuse(404, f"a reload has removed pipeline {name!r} meanwhile; GET /pipelines lists those that are left")
        return web.json_response({"name": name, **found}, status=status, headers=FRESH)

    async def _command(self, request: web.Request, members: set[str]) -> tuple[Operator, Pipeline, Body]:
        """Return who asks, of which pipeline, and the body; its members may be `members`."""
        operator = self.operators.identify(request.remote, request.headers)
        pipeline = self._pipeline(request)
        return operator, pipeline, parse_body(await request.read(), members)

    def _pipeline(self, request: web.Request) -> Pipeline:
        name = request.match_info["name"]
        found = next((each for each in self.selection().pipelines if each.name == name), None)
        if found is None:
            refuse(404, f"there is no pipeline {name[:63]!r}; GET /pipelines lists them")
        return found

    def _connected(self) -> Bus | None:
        try:
            return self.bus.connected
        except Unavailable:
            return None

    def _available(self) -> Bus:
        try:
            return self.bus.connected
        except Unavailable as exc:
            refuse(503, str(exc), {"Retry-After": "1"})


_STATEFUL = (
    "it keeps state, which has seen the events behind that place; with `reset_state`, its state begins anew there, and"
    " its results of the windows that are open there count the events from there on alone"
)

_REPARTITIONED = (
    "the rewind before is pending in a partition, and events between the parts that `repartition` divides belong to it;"
    " try again when it is done"
)


def _flag(body: Body, member: str) -> bool:
    found: Any = body.get(member, False)
    if not isinstance(found, bool):
        raise Malformed(f"{member}: expected true or false")
    return found
