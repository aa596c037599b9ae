"""The endpoint for operators: `GET /pipelines/{name}/shadow`.

The differences hold events, so that reading them takes the right of an operator.
"""

from dataclasses import dataclass

import msgspec
from aiohttp import web

from services.process_api.shadow.shadows import Shadows
from shared.http.commands import FRESH, refuse
from shared.http.operators import Operators


@dataclass(frozen=True, slots=True)
class ShadowRoutes:
    """What the endpoint needs."""

    shadows: Shadows
    operators: Operators
    node: str
    """The name of this replica."""

    def add_to(self, app: web.Application) -> None:
        """Add the endpoint."""
        app.router.add_get("/pipelines/{name}/shadow", self._show)

    async def _show(self, request: web.Request) -> web.Response:
        self.operators.identify(request.remote, request.headers)
        name = request.match_info["name"]
        found = self.shadows.shown(name)
        if found is None:
            refuse(404, f"no pipeline {name[:63]!r} has a shadow; GET /pipelines lists the pipelines")
        # Not by `json`: events are in it as they stand, with all digits of their numbers.
        body = msgspec.json.encode({"name": name, "replica": self.node, **found})
        return web.Response(body=body, content_type="application/json", headers=FRESH)
