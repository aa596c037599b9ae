"""Look-ups and calls as spans in the trace of their event, and the trace that the other system gets."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.process_api.pipeline.pipeline import Input, Pipeline, PipelineOptions
from services.process_api.pipeline.steps.context import StepContext
from shared.telemetry.tracing import NO_TRACING, Tracing
from tests.servers.http_api import HttpApi, http_api
from tests.unit.services.process_api.making import event
from tests.unit.services.process_api.pipeline.steps.waiting import scope
from tests.unit.shared.telemetry.test_parents import OTHER, PARENT
from tests.unit.shared.telemetry.tracers import MemorySpans


@pytest.fixture
async def api() -> AsyncIterator[HttpApi]:
    async with http_api() as running:
        running.answer("/customers/s3cret", {"name": "Ada"})
        running.answer("/score", {"score": 1})
        yield running


def steps(api: HttpApi, **more: Any) -> list[Any]:
    network = {"allow": ["127.0.0.1"]}
    look_up = {"url": api.url("/customers/{key}"), "network": network, **more}
    return [
        {"enrich": {"http": look_up, "key": "customer", "into": "data.found"}},
        {"call": {"url": api.url("/score"), "network": network, **more}},
    ]


async def run(tracing: Tracing, wanted: list[Any], *traceparents: str) -> None:
    """Run steps on an event of each trace; an empty one is none."""
    options = PipelineOptions.model_validate({"sources": ["*"], "channel": "orders", "steps": wanted})
    made = Pipeline("orders", options, StepContext(tracing=tracing))
    traces = [{"traceparent": each} if each else {} for each in traceparents]
    inputs = [Input(event({"customer": "s3cret"}, id=f"orders:{n}", **each)) for n, each in enumerate(traces)]
    try:
        for outcome in await made.start(inputs, scope()):
            assert isinstance(await made.finish(outcome, (), scope()), list)
    finally:
        await made.close()


async def test_a_look_up_is_a_span_of_its_first_event_and_a_call_one_of_each(api: HttpApi) -> None:
    spans = MemorySpans()
    await run(await asyncio.to_thread(spans.tracing), steps(api), PARENT, OTHER)
    look_up, *calls = spans.ended
    assert (look_up.attributes or {})["trelay.step"] == "steps.0.enrich"
    assert [f"{link.context.span_id:016x}" for link in look_up.links] == [OTHER[36:52]]
    assert {(span.name, (span.attributes or {})["trelay.step"]) for span in calls} == {("POST", "steps.1.call")}
    parents = [f"{span.parent.span_id:016x}" for span in (look_up, *calls) if span.parent is not None]
    assert parents == [PARENT[36:52], PARENT[36:52], OTHER[36:52]]
    assert "s3cret" not in "".join(span.to_json() for span in spans.ended)
    assert not [request for request in api.requests if "traceparent" in request.headers]


async def test_the_other_system_gets_the_span_of_its_request_where_the_settings_want_it(api: HttpApi) -> None:
    spans = MemorySpans()
    await run(await asyncio.to_thread(spans.tracing), steps(api, propagate_trace=True), PARENT)
    sent = [request.headers["traceparent"] for request in api.requests]
    ids = [span.context.span_id for span in spans.ended if span.context is not None]
    assert sent == [f"{PARENT[:36]}{span_id:016x}-01" for span_id in ids]
    assert len(sent) == 2


async def test_without_telemetry_the_other_system_gets_the_trace_of_the_event(api: HttpApi) -> None:
    await run(NO_TRACING, steps(api, propagate_trace=True), PARENT)
    assert [request.headers["traceparent"] for request in api.requests] == [PARENT, PARENT]


async def test_a_redirect_to_another_host_gets_no_trace(api: HttpApi) -> None:
    async with http_api() as elsewhere:
        elsewhere.answer("/customers", {"name": "Ada"})
        api.answer("/customers/s3cret", (302, {"Location": elsewhere.url("/customers")}, None))
        await run(NO_TRACING, steps(api, propagate_trace=True)[:1], PARENT)
        (redirected,) = elsewhere.requests
    assert "traceparent" in api.requests[0].headers
    assert "traceparent" not in redirected.headers


async def test_events_without_a_trace_have_no_spans(api: HttpApi) -> None:
    spans = MemorySpans()
    await run(await asyncio.to_thread(spans.tracing), steps(api, propagate_trace=True), "")
    assert len(api.requests) == 2
    assert not [request for request in api.requests if "traceparent" in request.headers]
    assert not spans.ended
