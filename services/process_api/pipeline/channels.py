"""The channels on which the events of a pipeline can be. Sans-I/O."""

from collections.abc import Sequence

from services.process_api.pipeline.draft import Draft
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


def once(made: Sequence[Outgoing], drafts: Sequence[Draft]) -> list[Outgoing]:
    """Return what an event has become, once for each channel and id: copies of `emit` may be on one channel again.

    `drafts` are the same events. Subscribers tell events by their ids: they would drop the second one.
    """
    kept: dict[tuple[str | bytes, str | None], Outgoing] = {}
    for each, draft in zip(made, drafts, strict=True):
        channel = each.part.channel if isinstance(each, Forwarded) else each.key
        kept.setdefault((channel, draft.attribute("id")), each)
    return list(kept.values())
