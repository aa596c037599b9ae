"""What a step is built with."""

from services.process_api.pipeline.steps.context import StepContext


def test_a_place_below_shares_everything_else() -> None:
    context = StepContext("orders")
    inner = context.at("steps.0.map")
    assert (inner.pipeline, inner.place) == ("orders", "steps.0.map")
    assert inner.on_close is context.on_close
    assert inner.rng is context.rng
