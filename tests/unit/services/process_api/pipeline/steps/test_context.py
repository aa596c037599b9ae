"""What a step is built with."""

from services.process_api.pipeline.steps.context import StepContext
from shared.runtime.trace import client_spans
from tests.unit.shared.telemetry.test_parents import PARENT
from tests.unit.shared.telemetry.tracers import MemorySpans


def test_a_place_below_shares_everything_else() -> None:
    context = StepContext("orders")
    inner = context.at("steps.0.map")
    assert (inner.pipeline, inner.place) == ("orders", "steps.0.map")
    assert inner.closing is context.closing
    assert inner.rng is context.rng


def test_calls_for_events_name_the_step() -> None:
    spans = MemorySpans()
    with StepContext("orders", "steps.0.call", tracing=spans.tracing()).following([PARENT]):
        calls = client_spans()
        call = None if calls is None else calls.begin("GET", {})
        assert call is not None
        call.end({})
    (span,) = spans.ended
    assert span.attributes == {"trelay.pipeline": "orders", "trelay.step": "steps.0.call"}
