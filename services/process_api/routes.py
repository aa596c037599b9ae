"""The endpoints for operators of the process layer: `GET /pipelines`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.pipeline.selection import Selection
from shared.bus.topics import TopicsOptions
from shared.http.commands import FRESH, refuse
from shared.http.operators import Operators


@dataclass(frozen=True, slots=True)
class PipelineRoutes:
    """What the endpoints need."""

    selection: Callable[[], Selection]
    """Returns the pipelines that run now."""
    topics: TopicsOptions
    operators: Operators

    def add_to(self, app: web.Application) -> None:
        """Add the endpoints."""
        app.router.add_get("/pipelines", self._all)
        app.router.add_get("/pipelines/{name}", self._one)

    async def _all(self, request: web.Request) -> web.Response:
        self.operators.check_reader(request.remote, request.headers)
        shown = {pipeline.name: self._describe(pipeline) for pipeline in self.selection().pipelines}
        return web.json_response(shown, headers=FRESH)

    async def _one(self, request: web.Request) -> web.Response:
        self.operators.check_reader(request.remote, request.headers)
        pipeline = self._pipeline(request)
        return web.json_response({"name": pipeline.name, **self._describe(pipeline)}, headers=FRESH)

    def _pipeline(self, request: web.Request) -> Pipeline:
        name = request.match_info["name"]
        found = next((each for each in self.selection().pipelines if each.name == name), None)
        if found is None:
            refuse(404, f"there is no pipeline {name[:63]!r}; GET /pipelines lists them")
        return found

    def _describe(self, pipeline: Pipeline) -> dict[str, Any]:
        topics = self.topics
        written = [topics.publish, topics.dead_letter, *([topics.state] if pipeline.stateful else ())]
        return {
            "version": pipeline.version,
            "sources": list(pipeline.sources),
            "channel": pipeline.channel,
            "steps": list(pipeline.places),
            "stateful": pipeline.stateful,
            "topics": {"in": [topics.ingest], "out": written},
        }
