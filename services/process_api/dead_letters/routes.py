"""The endpoints for operators: `GET /dead-letters`, and what they may do with letters.

Any replica answers. Letters hold events as they came, so that reading them takes the same right as deciding on them.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from services.process_api.dead_letters.decisions import Status
from services.process_api.dead_letters.places import parse_place
from services.process_api.dead_letters.requests import DecideRequest, ListRequest
from services.process_api.dead_letters.service import DeadLetters
from shared.bus.protocol import Bus
from shared.http.commands import FRESH
from shared.http.operators import Operators

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeadLetterRoutes:
    """What the endpoints need."""

    letters: DeadLetters
    operators: Operators
    bus: Callable[[], Bus]
    """Returns the bus; raises `Unavailable` while it is not connected."""

    def add_to(self, app: web.Application) -> None:
        """Add the endpoints."""
        app.router.add_get("/dead-letters", self._list)
        app.router.add_get("/dead-letters/counts", self._count)
        app.router.add_get("/dead-letters/{id}", self._show)
        app.router.add_post("/dead-letters/replay", self._replay)
        app.router.add_post("/dead-letters/drop", self._drop)

    async def _list(self, request: web.Request) -> web.Response:
        self.operators.identify(request.remote, request.headers)
        return _json(await self.letters.page(self.bus(), ListRequest.parse(request.query)))

    async def _count(self, request: web.Request) -> web.Response:
        self.operators.identify(request.remote, request.headers)
        return _json(await self.letters.count(self.bus(), ListRequest.parse(request.query, counts=True)))

    async def _show(self, request: web.Request) -> web.Response:
        self.operators.identify(request.remote, request.headers)
        return _json(await self.letters.show(self.bus(), parse_place(request.match_info["id"])))

    async def _replay(self, request: web.Request) -> web.Response:
        return await self._decide(request, Status.REPLAYED)

    async def _drop(self, request: web.Request) -> web.Response:
        return await self._decide(request, Status.DROPPED)

    async def _decide(self, request: web.Request, status: Status) -> web.Response:
        operator = self.operators.identify(request.remote, request.headers)
        asked = DecideRequest.parse(status, await request.read())
        answer = await self.letters.decide(self.bus(), asked, operator.name)
        if not asked.dry_run:
            logger.warning(
                "dead letters decided",
                extra={
                    "component": "operators",
                    "command": "replay" if status is Status.REPLAYED else "drop",
                    "operator": operator.name,
                    "address": operator.address,
                    "operation": answer.operation,
                    "count": answer.body[status],
                    "refused": answer.body["refused"],
                    "complete": answer.body["cursor"] is None,
                },
            )
        return _json(answer.body)


def _json(body: dict[str, Any]) -> web.Response:
    # Not by `json`: events are in it as they stand, with all digits of their numbers.
    return web.Response(body=msgspec.json.encode(body), content_type="application/json", headers=FRESH)
