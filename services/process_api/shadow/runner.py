"""The process that runs shadows: a message for each event on standard input, what became of it on standard output."""

import asyncio
import os
import pickle
import signal
from collections.abc import Mapping
from typing import BinaryIO

from services.process_api.dry_run import DryRun, Sample
from services.process_api.pipeline.pipeline import Pipeline, PipelineOptions
from services.process_api.pipeline.steps.python_pool.standard_pipes import standard_pipes
from services.process_api.shadow.messages import HEAD, Given, Result, Verdict, compared, framed, pack, unpack_given
from shared.errors import Unavailable
from shared.expression.process_limits import limit_memory

MEMORY = 1024**3
"""Bytes that the shadows of a replica may need."""

_LONGEST_SECONDS = 90
"""For one event: longer than any `timeout`. It ends a process that does not return, and whose parent is gone."""

_NICENESS = 10
"""The pipelines come first where the CPU is short."""


async def judged(run: DryRun, given: Given) -> Verdict:
    """Run the shadow on an event, and compare."""
    place = (given.offset, given.topic, given.partition, given.timestamp, given.key)
    try:
        made = await run.run(Sample(given.value, tuple(given.headers), *place))
    except Unavailable as exc:
        return Verdict(Result.FAILED, (), f"waits: {exc}")
    if made.dead_letters:
        # What both versions reject is the same.
        result = Result.SAME if given.old is None else Result.FAILED
        return Verdict(result, (), made.dead_letters[0].error)
    return compared(given.old, [(event.key, event.value or b"") for event in made.events])


def main(requests: BinaryIO, responses: BinaryIO) -> None:
    """Run the events of the requests until there are no more; the first message holds the settings."""
    options: Mapping[str, PipelineOptions] = pickle.loads(_read(requests) or b"")  # noqa: S301 -- of the own parent
    runs = {name: DryRun(Pipeline(name, each)) for name, each in options.items()}
    responses.write(framed(b""))
    responses.flush()
    with asyncio.Runner() as runner:
        while (content := _read(requests)) is not None:
            given = unpack_given(content)
            signal.alarm(_LONGEST_SECONDS)
            verdict = runner.run(judged(runs[given.pipeline], given))
            signal.alarm(0)
            responses.write(pack(verdict))
            responses.flush()


def _read(requests: BinaryIO) -> bytes | None:
    head = requests.read(HEAD.size)
    return requests.read(HEAD.unpack(head)[0]) if len(head) == HEAD.size else None


if __name__ == "__main__":
    os.nice(_NICENESS)
    limit_memory(MEMORY)
    with standard_pipes() as (given_requests, out):
        main(given_requests, out)
