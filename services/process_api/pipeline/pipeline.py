"""A named list of steps between a source set and a channel. Sans-I/O: an event's bytes in, events' bytes out."""

import functools
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import Field

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.registry import StepOptions, build_step, kind_of
from services.process_api.pipeline.steps.step import ChannelName
from shared.bus.protocol import Headers, Outgoing
from shared.errors import Malformed, Unavailable
from shared.events.event import channel, json_string
from shared.settings import Options

logger = logging.getLogger(__name__)

Lap = Callable[[str], None]
"""Told, by the place of a step, that it is done."""

_VERSION_LENGTH = 8


class PipelineOptions(Options):
    """One pipeline."""

    sources: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    """Whose events it takes: names of sources, `*` standing for any characters. An event goes through every pipeline
    that takes it."""

    channel: ChannelName | None = None
    """Where its events go, unless a `route` step decides otherwise."""

    steps: list[StepOptions] = Field(default_factory=list)
    """What is done with each event, in order."""

    @property
    def version(self) -> str:
        """What tells these settings from others: a few characters of a hash. Functions and their code are not in it."""
        written = json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True)
        return hashlib.sha256(written.encode()).hexdigest()[:_VERSION_LENGTH]


class Refused(Malformed):
    """A pipeline does not let an event pass; the text names the step and says why."""


class Pipeline:
    """Runs events through its steps. Belongs to the thread that made it."""

    def __init__(self, name: str, options: PipelineOptions) -> None:
        """Compile the steps.

        Raises:
            ValueError: as for `build_step`.
        """
        self.name = name
        self.label = f"{name}@{options.version}"
        """What the dead letter calls it."""
        self.places = [f"steps.{number}.{kind_of(step)}" for number, step in enumerate(options.steps)]
        """Its steps, as errors and metrics call them."""
        self._steps = [(place, build_step(step).apply) for place, step in zip(self.places, options.steps, strict=True)]
        self._channel = options.channel

    def run(self, value: bytes, headers: Headers = (), lap: Lap | None = None, *, ours: bool = False) -> list[Outgoing]:
        """Return the events that one event becomes, keyed by their channels and with these headers.

        None if it was filtered out. The same bytes always give the same events, but for expressions that ask what
        time it is. `lap` is told of each step that is done. Of an event that is `ours`, made by the system layer, only
        what a step looks into is parsed.

        Raises:
            Refused: it is no event, a step failed on it, or it has no channel at the end; nothing of it may pass.
            Unavailable: a step needs something that does not answer; the event must come again, and the next ones wait.
        """
        place = "event"
        try:
            drafts: Sequence[Draft] = (Draft(value, ours=ours),)
            for place, apply in self._steps:
                drafts = apply(drafts[0]) if len(drafts) == 1 else [made for draft in drafts for made in apply(draft)]
                if lap is not None:
                    lap(place)
            place = "channel"
            return [
                # Spelled so, a record costs half of what its class takes to make one.
                tuple.__new__(Outgoing, (*self._encoded(draft), headers))
                for draft in drafts
            ]
        except Unavailable:
            raise
        except Malformed as exc:
            raise Refused(f"{place}: {exc}") from exc
        except Exception as exc:  # a bug of ours must not stop the events that it does not concern
            logger.debug("%s: %s failed", self.label, place, exc_info=exc)
            raise Refused(f"{place}: {type(exc).__name__}: {exc}") from exc

    def _encoded(self, draft: Draft) -> tuple[bytes, bytes]:
        """Return an event's channel as a key, and its bytes on that channel."""
        chosen = draft.channel or self._channel or draft.attribute("channel")
        if chosen is None:
            raise Malformed(
                "the event has no channel: the pipeline names none and no route gave one"
                " (a route is an expression, so a constant one is in quotes within)"
            )
        key, wanted = _written(chosen)
        return key, draft.encoded(wanted)


@functools.lru_cache(maxsize=4096)
def _written(name: str) -> tuple[bytes, bytes]:
    """Return a channel as a key and as JSON."""
    return channel(name).encode(), json_string(name)
