"""The channels on which the events of a pipeline can be. Sans-I/O."""

from collections.abc import Sequence

from services.process_api.pipeline.part import Forwarded
from services.process_api.pipeline.steps.step import StepOptions
from shared.bus.protocol import Outgoing


def channels_of(channel: str | None, steps: Sequence[StepOptions]) -> frozenset[str] | None:
    """Return all channels that events of a pipeline can be on; None where their content decides.

    `channel` is that of the pipeline, `steps` are its steps.
    """
    found: set[str] = set() if channel is None else {channel}
    for step in (each for top in steps for each in top.all_steps()):
        channels = step.channels()
        if channels is None:
            return None
        found.update(channels)
    if channel is None and not any(step.channels() for step in steps):
        return None  # the channel that events come with
    return frozenset(found)


def once(made: Sequence[Outgoing]) -> list[Outgoing]:
    """Return what an event has become, each once on its channel: copies that `emit` made may be on one channel again.

    Subscribers tell events by their ids: they would drop the second one. Events of one id that differ stay both.
    """
    kept = {(each.part.channel if isinstance(each, Forwarded) else each.key, each.value): each for each in made}
    return list(kept.values())
