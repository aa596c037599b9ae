import random

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from prometheus_client import CollectorRegistry

from services.experience_api.http.outcomes import Outcomes, counted
from services.experience_api.metrics import ExperienceMetrics
from services.experience_api.refusals import BUSY, Refused
from shared.errors import Malformed
from shared.runtime.clock import SYSTEM_CLOCK


async def test_outcomes_are_counted_and_the_time_to_retry_is_spread() -> None:
    registry = CollectorRegistry()
    outcomes = Outcomes(ExperienceMetrics(registry).tickets, SYSTEM_CLOCK, random.Random(1))

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/busy":
            raise Refused(BUSY, retry_after=2.0)
        if request.path == "/malformed":
            raise Malformed("no")
        outcomes.accepted()
        return web.Response()

    for path in ("/busy", "/malformed"):
        with pytest.raises(Refused) as refused:
            await counted(handler, outcomes)(make_mocked_request("GET", path))
        assert path == "/malformed" or (refused.value.retry_after or 0) >= 2.0
    await counted(handler, outcomes)(make_mocked_request("GET", "/"))
    for outcome in ("accepted", "busy", "malformed"):
        assert registry.get_sample_value("trelay_experience_tickets_total", {"outcome": outcome}) == 1.0
