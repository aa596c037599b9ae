"""The HTTP client of a step."""

import pytest
from yarl import URL

from services.process_api.pipeline.steps.client import LazyClient
from services.process_api.pipeline.steps.context import StepContext
from shared.errors import Unavailable
from shared.http.client.failures import RateLimited
from shared.http.client.options import ClientOptions
from shared.runtime.tasks import together
from tests.servers.http_api import http_api
from tests.unit.services.process_api.worker.test_filler import TickingClock


async def test_it_is_opened_once_when_it_is_needed_and_closed_with_the_pipeline() -> None:
    context = StepContext(clock=TickingClock(0))
    options = ClientOptions.model_validate(
        {"network": {"allow": ["127.0.0.1"]}, "rate": {"requests": 1, "seconds": 60}}
    )
    async with http_api() as api:
        api.answer("/a", {"n": 1})
        client = LazyClient(api.url("/{key}"), options, context, 2)
        assert (await client.get(URL(api.url("/a")))).body == b'{"n": 1}'
        with pytest.raises(RateLimited, match="no request for another 60 s"):
            await client.get(URL(api.url("/a")))
    await context.closing.aclose()
    with pytest.raises((Unavailable, RuntimeError)):
        await client.get(URL(api.url("/a")))


async def test_requests_at_the_same_time_have_one_budget() -> None:
    clock = TickingClock(0)
    context = StepContext(clock=clock)
    options = ClientOptions.model_validate({"network": {"allow": ["127.0.0.1"]}, "rate": {"requests": 1, "seconds": 2}})
    async with http_api() as api:
        api.answer("/a", {"n": 1})
        client = LazyClient(api.url("/{key}"), options, context, 4)
        await together(*(client.get(URL(api.url("/a"))) for _ in range(4)))
        assert clock.monotonic() == 6, "three of them wait, each for its own turn"
    await context.closing.aclose()
