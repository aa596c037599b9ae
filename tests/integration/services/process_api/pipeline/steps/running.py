"""Runs a pipeline with steps that wait on a batch of events."""

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from services.process_api.pipeline.pipeline import Input, Pipeline
from services.process_api.pipeline.steps.outcome import Blocked, Rejected
from tests.unit.services.process_api.making import data_of, event, pipeline
from tests.unit.services.process_api.pipeline.steps.waiting import scope

Run = Callable[..., Coroutine[Any, Any, list[Any]]]


async def outcomes(made: Pipeline, *entities: Any) -> list[Any]:
    """Return for each entity the only entity that it becomes, or the failure."""
    found: list[Any] = []
    inputs = [Input(event(entity, id=f"orders:{number}")) for number, entity in enumerate(entities)]
    for outcome in await made.start(inputs, scope()):
        result = await made.finish(outcome, (), scope())
        if isinstance(result, Rejected | Blocked):
            found.append(result)
        else:
            (output,) = result
            found.append(data_of(output.value or b""))
    return found


@contextlib.asynccontextmanager
async def running(*steps: Any) -> AsyncIterator[Run]:
    """Make a pipeline, and close it at the end."""
    made = pipeline(*steps)
    try:
        yield lambda *entities: outcomes(made, *entities)
    finally:
        await made.close()
