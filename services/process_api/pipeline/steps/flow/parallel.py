"""`- parallel: {lists: {a: […], b: […]}, merge: …}`: several lists of steps on copies of an event."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import msgspec
from pydantic import ConfigDict, Field

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.paths import parse, put
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.flow.inner import InnerSteps, build_list
from services.process_api.pipeline.steps.flow.items import entities
from services.process_api.pipeline.steps.outcome import Blocked, Outcome, Rejected, joined
from services.process_api.pipeline.steps.scope import Scope
from services.process_api.pipeline.steps.step import AnyStep, Example, PathText, StepOptions
from services.process_api.pipeline.steps.step_list import StepList
from shared.errors import Malformed
from shared.expression.document import JsonDocument
from shared.expression.expression import Expression
from shared.expression.nodes import Node, Raw
from shared.expression.settings import ValueExpressionText
from shared.runtime.tasks import together
from shared.settings import Name, Options

_encode = msgspec.json.Encoder().encode


class ParallelSettings(Options):
    """The lists, and how their results are merged."""

    model_config = ConfigDict(defer_build=True)

    lists: Annotated[dict[Name, InnerSteps], Field(min_length=1, max_length=20)]
    """The lists of steps by name. Each runs on a copy of the event; lists that wait do so at the same time."""

    merge: ValueExpressionText
    """A JSONata expression over an object that holds the entity that each list makes, by its name, and the entity as it
    was as `original`. A list that filters the event out has no member, one that makes several events an array."""

    into: PathText = "data"
    """The path at which the value of `merge` is set; by default it is the new entity."""


class ParallelOptions(StepOptions):
    """Runs several lists of steps on copies of each event, and merges their results."""

    model_config = ConfigDict(defer_build=True)
    kind: ClassVar = "parallel"
    example: ClassVar = Example(
        "parallel: {lists: {net: [{map: price}], tax: [{map: price * 0.2}]}, "
        'merge: \'{"net": net, "tax": tax}\', into: data.price}',
        [({"data": {"id": 7, "price": 50}}, [{"data": {"id": 7, "price": {"net": 50, "tax": 10}}}])],
    )

    parallel: ParallelSettings
    """The lists. Where one of them rejects the event, it goes to the dead letter as a whole; where one has to wait, the
    partition waits, and all of them run again."""

    def expressions(self) -> list[str]:
        return [self.parallel.merge]

    def inner(self) -> Mapping[str, Sequence[StepOptions]]:
        return {f"lists.{name}": steps for name, steps in self.parallel.lists.items()}

    def build(self, context: StepContext) -> AnyStep:
        lists = {name: build_list(context, f"lists.{name}", steps) for name, steps in self.parallel.lists.items()}
        kind = WaitingParallel if any(each.waits for each in lists.values()) else Parallel
        return kind(self.parallel, lists)


class _Merging:
    def __init__(self, settings: ParallelSettings, lists: Mapping[str, StepList]) -> None:
        self._lists = lists
        self._merge = Expression(settings.merge)
        self._into = parse(settings.into)

    def _merged(self, draft: Draft, results: Sequence[Sequence[Draft]]) -> Sequence[Draft]:
        members: dict[str, Node] = {"original": Raw(draft.data_text() or b"null")}
        for name, made in zip(self._lists, results, strict=True):
            found = entities(made)
            if found:
                members[name] = found[0] if len(found) == 1 else found
        value = self._merge.value(JsonDocument(_encode(members)))
        if value is None:
            raise Malformed("merge: the expression is undefined for this event")
        put(draft, self._into, Raw(value))
        return (draft,)


class Parallel(_Merging):
    """None of the steps waits."""

    def apply(self, draft: Draft) -> Sequence[Draft]:
        return self._merged(draft, [steps.apply(draft.clone()) for steps in self._lists.values()])


class WaitingParallel(_Merging):
    """One of the steps waits."""

    async def apply_batch(self, drafts: Sequence[Draft], scope: Scope) -> Sequence[Outcome | Malformed]:
        made = await together(
            *(steps.apply_batch([draft.clone() for draft in drafts], scope) for steps in self._lists.values())
        )
        outcomes: list[Outcome | Malformed] = []
        for draft, results in zip(drafts, zip(*made, strict=True), strict=True):
            failed = joined([result for result in results if isinstance(result, Rejected | Blocked)])
            if isinstance(failed, Rejected | Blocked):
                outcomes.append(failed)
                continue
            try:
                outcomes.append(self._merged(draft, results))
            except Malformed as exc:
                outcomes.append(exc)
            await scope.turns.breathe()
        return outcomes
