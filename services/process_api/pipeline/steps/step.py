"""The interface of a step, and the types that its settings are written with."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol, TypeAlias, runtime_checkable

from pydantic import AfterValidator, Field

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.paths import ENTITY_PATTERN, PATTERN, REMOVABLE_PATTERN, parse, parse_removable
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.scope import Scope
from shared.errors import Malformed, Unavailable
from shared.events.event import CHANNEL_LIMIT, CHANNEL_PATTERN, channel
from shared.settings import Checked, Options


@runtime_checkable
class Step(Protocol):
    """One operation on one event. It knows no other events and does no I/O."""

    def apply(self, draft: Draft) -> Sequence[Draft]:
        """Return the events for the next step: this one, changed in place or not; none; or several.

        The same event always gives the same result, because it may come again after a crash. Where a step fails on an
        event, none of its results passes, so it may leave the event half changed.

        Raises:
            Malformed: this event can never pass; the text says why.
            Unavailable: the step waits for something. The partition waits with it, and the event comes again.
        """
        ...


@runtime_checkable
class WaitingStep(Protocol):
    """One operation that does I/O. It gets all events of a batch at once, so that one query serves them."""

    async def apply_batch(
        self, drafts: Sequence[Draft], scope: Scope
    ) -> "Sequence[Sequence[Draft] | Malformed | Unavailable]":
        """Return for each draft, in order, the events for the next step, or the failure of this event.

        `Malformed`: this event can never pass. `Unavailable`: the step waits for something; the events before this
        one are committed, and it comes again with those behind it. So the same event may come several times, and an
        effect outside Trelay happens at least once. A failure that is returned concerns its event alone; an error
        that is raised is found out by a call for each event.
        """
        ...


class NotKnown(Exception):
    """A step cannot tell without waiting what becomes of an event."""


@runtime_checkable
class KnowingStep(Protocol):
    """A step that waits, and often knows the answer already."""

    def apply_known(self, draft: Draft) -> Sequence[Draft]:
        """Return what `apply_batch` would.

        Raises:
            NotKnown: it would have to wait. The event may be half changed.
            Malformed: this event can never pass.
        """
        ...


AnyStep: TypeAlias = Step | WaitingStep


class Example(NamedTuple):
    """What a step makes of events: part of the documentation, and run by a test."""

    step: str
    """The step as in the settings, in YAML."""
    cases: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]
    """Attributes of an event, and those of each event that it becomes."""
    module: str = ""
    """The source of the Python module `shop.orders`, if the step names it."""
    files: Mapping[str, str] = {}
    """Files beside the settings, if the step names them: their content by name."""
    lists: Mapping[str, Any] = {}
    """Lists of steps under `process.lists`, if the step uses them."""
    response: Any = None
    """What an HTTP API answers, if the step asks one."""


class StepOptions(Options):
    """The settings of a step: a mapping of one key, the kind of the step."""

    kind: ClassVar[str]
    example: ClassVar[Example]
    stateful: ClassVar[bool] = False
    """Whether the step keeps state of the events before."""
    holds: ClassVar[bool] = False
    """Whether the step may keep an event, or the result of one, for later than the commit of the event."""
    divides: ClassVar[bool] = False
    """Whether the steps behind it are another part of the pipeline: its events are partitioned by another key."""

    def expressions(self) -> list[str]:
        """Return the expressions of the step itself; each is tried before a pipeline runs."""
        return []

    def channels(self) -> "Sequence[str] | None":
        """Return the channels of which the step itself puts each event on one or more; none if it does not.

        None: the content of the event decides, or whether it does.
        """
        return ()

    def copies(self) -> bool:
        """Return whether the step puts an event on several channels: each gets an event of the same id."""
        return False

    def inner(self) -> Mapping[str, "Sequence[StepOptions]"]:
        """Return the lists of steps that the step holds, by their places below its own, such as `0.steps`."""
        return {}

    def all_steps(self) -> "Iterator[StepOptions]":
        """Yield the step, and the steps that it holds at any depth."""
        yield self
        for steps in self.inner().values():
            for step in steps:
                yield from step.all_steps()

    @abstractmethod
    def build(self, context: StepContext) -> AnyStep:
        """Make the step, for this thread.

        Raises:
            ValueError: a function cannot be imported; everything else was checked with the settings.
        """


def _path(written: str) -> str:
    parse(written)
    return written


def _in_entity(written: str) -> str:
    if parse(written).names[0] != "data":
        raise ValueError(f"{written!r} is an attribute, which holds no array; expected a path such as 'data.lines'")
    return written


def _removable(written: str) -> str:
    parse_removable(written)
    return written


PathText = Annotated[str, AfterValidator(_path), Field(json_schema_extra={"pattern": PATTERN})]
"""A path to something in an event that may be changed; see `paths`."""

EntityPath = Annotated[str, AfterValidator(_in_entity), Field(json_schema_extra={"pattern": ENTITY_PATTERN})]
"""A path to the entity, or to something in it."""

RemovablePath = Annotated[str, AfterValidator(_removable), Field(json_schema_extra={"pattern": REMOVABLE_PATTERN})]
"""A path to something that an event can be without."""

ChannelName = Annotated[str, Checked(channel, CHANNEL_PATTERN, CHANNEL_LIMIT)]
"""Dotted words."""
