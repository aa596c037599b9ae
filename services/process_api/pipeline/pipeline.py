"""A pipeline: a list of steps between a source set and a channel. Sans-I/O: the bytes of an event in, of events out."""

import functools
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import Field

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.registry import AnyStep
from services.process_api.pipeline.steps.step import ChannelName
from shared.bus.protocol import Headers, Outgoing
from shared.errors import Malformed, Unavailable
from shared.events.event import channel, json_string
from shared.expression.jsonata import EvaluationTimeout
from shared.settings import Options

logger = logging.getLogger(__name__)

OnStep = Callable[[str], None]
"""Called with the place of each step when it is done."""

_VERSION_LENGTH = 8


class PipelineOptions(Options):
    """One pipeline."""

    sources: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    """The sources whose events it takes, by name; `*` stands for any characters. An event goes through every pipeline
    that takes its source."""

    channel: ChannelName | None = None
    """The channel of its events, unless a `route` step sets another."""

    steps: list[AnyStep] = Field(default_factory=list)
    """The steps, in order."""

    @property
    def version(self) -> str:
        """The first characters of a hash of these settings. The code of Python functions is not part of it."""
        written = json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True)
        return hashlib.sha256(written.encode()).hexdigest()[:_VERSION_LENGTH]


class Rejected(Malformed):
    """A pipeline rejects an event; the text names the step and the reason."""

    def __init__(self, text: str, *, timed_out: bool = False) -> None:
        """`timed_out` says that an expression ran until its time limit."""
        super().__init__(text)
        self.timed_out = timed_out


class Pipeline:
    """Runs events through steps. Use it only in the thread that made it."""

    def __init__(self, name: str, options: PipelineOptions) -> None:
        """Compile the steps.

        Raises:
            ValueError: as for `StepOptions.build`.
        """
        self.name = name
        self.label = f"{name}@{options.version}"
        """Its name in dead letters."""
        self.places = [f"steps.{number}.{step.kind}" for number, step in enumerate(options.steps)]
        """The names of its steps in errors and metrics."""
        self._steps = [(place, step.build().apply) for place, step in zip(self.places, options.steps, strict=True)]
        self._channel = options.channel

    def run(
        self, value: bytes, headers: Headers = (), on_step: OnStep | None = None, *, spliced: bool = False
    ) -> list[Outgoing]:
        """Return the events that one event becomes, keyed by their channels and with these headers.

        An event that is filtered out becomes none. The same bytes always become the same events, unless an expression
        uses the time. Of an event that is `spliced` (by the system layer: `data` is its last attribute) only the parts
        that a step uses are parsed.

        Raises:
            Rejected: the bytes are not an event, a step failed on it, or it has no channel at the end. No event passes.
            Unavailable: a step waits for something. The event must come again, and those behind it wait.
        """
        place = "event"
        try:
            drafts: Sequence[Draft] = (Draft(value, spliced=spliced),)
            for place, apply in self._steps:
                drafts = apply(drafts[0]) if len(drafts) == 1 else [made for draft in drafts for made in apply(draft)]
                if on_step is not None:
                    on_step(place)
            place = "channel"
            return [
                # This costs half of a call of the class.
                tuple.__new__(Outgoing, (*self._encoded(draft), headers))
                for draft in drafts
            ]
        except Unavailable:
            raise
        except EvaluationTimeout as exc:
            raise Rejected(f"{place}: {exc}", timed_out=True) from exc
        except Malformed as exc:
            raise Rejected(f"{place}: {exc}") from exc
        except Exception as exc:  # a bug in a step must not stop the events behind
            logger.debug("step failed", extra={"pipeline": self.label, "step": place}, exc_info=exc)
            raise Rejected(f"{place}: {type(exc).__name__}: {exc}") from exc

    def _encoded(self, draft: Draft) -> tuple[bytes, bytes]:
        """Return an event's channel as a key, and its bytes on that channel."""
        chosen = draft.channel or self._channel or draft.attribute("channel")
        if chosen is None:
            raise Malformed(
                "the event has no channel: neither `channel` of the pipeline nor a route step sets one"
                """ (a route is an expression: a constant needs quotes of its own, such as '"orders"')"""
            )
        key, wanted = _written(chosen)
        draft.check()
        return key, draft.encoded(wanted)


@functools.lru_cache(maxsize=4096)
def _written(name: str) -> tuple[bytes, bytes]:
    """Return a channel as a key and as JSON."""
    return channel(name).encode(), json_string(name)
