"""Plays one example: runs its events through the pipeline, on a clock of its own and with the answers that it gives."""

import random
from collections.abc import Awaitable, Callable
from functools import partial

from services.cli.pipelines.examples import Example, difference, tick_of
from services.cli.pipelines.mocks import Mocks
from services.process_api.dry_run import DryRun, EventClock, Result, event_sample
from services.process_api.pipeline.pipeline import Pipeline, PipelineOptions
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.outcome import Blocked
from shared.runtime.clock import SYSTEM_CLOCK

_BETWEEN_ATTEMPTS = 5.0
_ATTEMPTS = 120
"""Of an event that waits: ten minutes on the clock of the example."""


async def failure(example: Example, options: PipelineOptions, mocks: Mocks) -> str:
    """Play an example; return how it fails, empty where it passes.

    Raises:
        ValueError: as for `Pipeline`.
    """
    clock = EventClock()
    steps_clock = SYSTEM_CLOCK if mocks.live else clock
    context = StepContext(clock=steps_clock, rng=random.Random(0), answers=mocks)  # noqa: S311 -- waits are the same each time
    pipeline = Pipeline(example.pipeline, options, context)
    results: list[Result] = []
    held: Blocked | None = None
    try:
        run = DryRun(pipeline, clock)
        for number, given in enumerate(example.given, 1):
            seconds = tick_of(given)
            if seconds is not None:
                clock.advance(seconds)
                attempt = run.tick
            else:
                attempt = partial(run.run, event_sample(given, number, clock.time()))
            made = await _settled(attempt, run, mocks, clock)
            if isinstance(made, Blocked):
                held = made
                break
            results.append(made)
    finally:
        await pipeline.close()
    if mocks.unanswered:
        return "\n".join(["look-ups without an answer:", *dict.fromkeys(mocks.unanswered)])
    differs = difference(example, results, None if held is None else f"{held.place}: {held}")
    unused = [f"{place}: no look-up gets it; expected one, or the mock to be removed" for place in mocks.unused()]
    return "\n".join([*([differs] if differs else []), *unused])


async def _settled(
    attempt: Callable[[], Awaitable[Result]], run: DryRun, mocks: Mocks, clock: EventClock
) -> Result | Blocked:
    """Try an event until it passes, as the worker does; give up once no answer is left that could change anything."""
    attempts = 0
    while True:
        attempts += 1
        try:
            return await attempt()
        except Blocked as exc:
            if mocks.unanswered or not mocks.left or attempts >= _ATTEMPTS:
                return exc
        clock.advance(_BETWEEN_ATTEMPTS)
        attempt = run.again
