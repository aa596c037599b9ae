"""The HTTP client of a step."""

import pytest
from yarl import URL

from services.process_api.pipeline.steps.client import LazyClient, json_body
from services.process_api.pipeline.steps.context import StepContext
from shared.errors import Malformed, Unavailable
from shared.http.client.client import Response
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


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ('\ufeff{"a": "ä"}'.encode(), "application/json", '{"a": "ä"}'),
        ('{"a": "ä"}'.encode("latin-1"), "application/json; charset=ISO-8859-1", '{"a": "ä"}'),
        ('{"a": "ä"}'.encode("utf-16"), 'application/json; CHARSET="utf-16"', '{"a": "ä"}'),
        ('{"a": "ä"}'.encode(), "application/json; charset=ISO-8859-1", '{"a": "ä"}'),
        ('{"a": "ä"}'.encode("latin-1"), "application/json", None),
        ('{"a": "ä"}'.encode("latin-1"), "application/json; charset=utf-8", None),
        ('{"a": "ä"}'.encode("latin-1"), "application/json; charset=no-such", None),
        ('{"a": "ä"}'.encode("latin-1"), "application/json; charset=hex", None),
        ('{"a": "ä"}'.encode("latin-1"), "application/json; charset=idna", None),
        (b"<html>maintenance</html>", "text/html; charset=ISO-8859-1", None),
    ],
    ids=range(10),
)
def test_a_body_is_json_in_whatever_charset(body: bytes, content_type: str, expected: str | None) -> None:
    response = Response(URL("http://api.example/a"), 200, {"content-type": content_type}, (), body)
    if expected is None:
        with pytest.raises(Malformed, match=r"^GET http://api.example/a: the response is not JSON: "):
            json_body(response, "GET", "response")
    else:
        assert json_body(response, "GET", "response") == expected.encode()
