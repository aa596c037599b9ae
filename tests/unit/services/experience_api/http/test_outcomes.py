import gc
import random
import weakref

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from prometheus_client import CollectorRegistry

from services.experience_api.http.outcomes import Outcomes, counted
from services.experience_api.metrics import ExperienceMetrics
from services.experience_api.refusals import BUSY, MALFORMED, Refusal, Refused
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


@pytest.mark.parametrize("refusal", [BUSY, MALFORMED])
async def test_a_refusal_is_freed_once_it_is_answered(refusal: Refusal) -> None:
    """Also by another one, which says when to retry: without the garbage collector, which would stop all else."""
    outcomes = Outcomes(ExperienceMetrics(CollectorRegistry()).tickets, SYSTEM_CLOCK, random.Random(1))
    raised: list[weakref.ref[Refused]] = []

    async def handler(_: web.Request) -> web.StreamResponse:
        refused = Refused(refusal)
        raised.append(weakref.ref(refused))
        try:
            raise refused
        finally:
            del refused

    gc.disable()
    try:
        try:
            await counted(handler, outcomes)(make_mocked_request("GET", "/"))
        except Refused as exc:
            raised.append(weakref.ref(exc))
            exc.__traceback__ = None  # as who answers it
        assert [each() for each in raised] == [None, None]
    finally:
        gc.enable()
