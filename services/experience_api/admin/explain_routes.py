"""The endpoint of the admin API that explains why a client did or did not get an event."""

from collections.abc import Callable

from aiohttp import web

from services.experience_api.admin.authorized import Authorized, answer
from services.experience_api.explain.explaining import Explainer
from services.experience_api.explain.requests import read_explain
from shared.bus.protocol import Bus
from shared.http.operators import Operator
from shared.runtime.clock import Clock


class ExplainRoutes:
    """Handles the requests of operators."""

    def __init__(self, explainer: Explainer, bus: Callable[[], Bus], authorized: Authorized, clock: Clock) -> None:
        self._explainer = explainer
        self._bus = bus
        self._authorized = authorized
        self._clock = clock

    def add_to(self, app: web.Application) -> None:
        """Add the endpoint."""
        app.router.add_get("/explain", self._authorized(self._explain), allow_head=False)

    async def _explain(self, request: web.Request, _operator: Operator) -> web.Response:
        asked = read_explain(request.query, self._clock.time())
        return answer(await self._explainer.explain(self._bus(), asked.search, asked.client_id))
