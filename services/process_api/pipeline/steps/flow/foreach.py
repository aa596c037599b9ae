"""`- foreach: {items: data.lines, steps: […]}`: runs steps on each item of an array."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import ConfigDict

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.paths import Path, parse, put
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.flow.inner import InnerSteps, build_list
from services.process_api.pipeline.steps.flow.items import entities, items_of, node_at
from services.process_api.pipeline.steps.outcome import Blocked, Outcome, Rejected, joined
from services.process_api.pipeline.steps.scope import Scope
from services.process_api.pipeline.steps.step import AnyStep, EntityPath, Example, StepOptions
from services.process_api.pipeline.steps.step_list import StepList
from shared.errors import Malformed
from shared.expression.nodes import text
from shared.settings import Options


class ForeachSettings(Options):
    """The array, and the steps."""

    model_config = ConfigDict(defer_build=True)

    items: EntityPath
    """The path of the array, such as `data.lines`. Nothing happens where it is absent or null."""

    steps: InnerSteps
    """The steps. For them each item is the entity of an event with the id `<id>/1`, `<id>/2` and so on."""


class ForeachOptions(StepOptions):
    """Runs steps on each item of an array, and puts what they make of the items in its place."""

    model_config = ConfigDict(defer_build=True)
    kind: ClassVar = "foreach"
    example: ClassVar = Example(
        """foreach: {items: data.lines, steps: [{filter: n > 0}, {set: {data.total: =n * price}}]}""",
        [
            (
                {"data": {"lines": [{"n": 2, "price": 5}, {"n": 0, "price": 9}]}},
                [{"data": {"lines": [{"n": 2, "price": 5, "total": 10}]}}],
            )
        ],
    )

    foreach: ForeachSettings
    """The array and the steps. An item that is filtered out is removed, one that becomes several is replaced by them. A
    look-up in the steps is one query for the items of all events of a batch."""

    def inner(self) -> Mapping[str, Sequence[StepOptions]]:
        return {"steps": self.foreach.steps}

    def build(self, context: StepContext) -> AnyStep:
        steps = build_list(context, "steps", self.foreach.steps)
        path = parse(self.foreach.items)
        return WaitingForeach(path, steps) if steps.waits else Foreach(path, steps)


class _Items:
    def __init__(self, path: Path, steps: StepList) -> None:
        self._path = path
        self._steps = steps

    def _copies(self, draft: Draft) -> Sequence[Draft] | None:
        """Return an event for each item, None where there is no array."""
        node = node_at(draft, self._path)
        written = None if node is None else text(node)
        if written is None or written == b"null":
            return None
        return draft.copies_with(items_of(written, str(self._path)))

    def _put(self, draft: Draft, made: Sequence[Draft]) -> Sequence[Draft]:
        put(draft, self._path, entities(made))
        return (draft,)


class Foreach(_Items):
    """None of the steps waits."""

    def apply(self, draft: Draft) -> Sequence[Draft]:
        copies = self._copies(draft)
        if copies is None:
            return (draft,)
        return self._put(draft, [made for copy in copies for made in self._steps.apply(copy)])


class WaitingForeach(_Items):
    """One of the steps waits: the items of all events run together."""

    async def apply_batch(self, drafts: Sequence[Draft], scope: Scope) -> Sequence[Outcome | Malformed]:
        copies: list[Sequence[Draft] | Malformed | None] = []
        for draft in drafts:
            try:
                copies.append(self._copies(draft))
            except Malformed as exc:
                copies.append(exc)
            await scope.turns.breathe()
        flat = [copy for some in copies if isinstance(some, Sequence) for copy in some]
        made = iter(await self._steps.apply_batch(flat, scope))
        outcomes: list[Outcome | Malformed] = []
        for draft, some in zip(drafts, copies, strict=True):
            if not isinstance(some, Sequence):
                outcomes.append((draft,) if some is None else some)
                continue
            outcome = joined([next(made) for _ in some])
            outcomes.append(outcome if isinstance(outcome, Rejected | Blocked) else self._put(draft, outcome))
        return outcomes
