"""`- split: lines`: each item of an array becomes an event of its own."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Discriminator, Tag

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.paths import parse, put
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.flow.items import items_of
from services.process_api.pipeline.steps.step import Example, PathText, Step, StepOptions
from shared.expression.expression import Expression
from shared.expression.settings import ExpressionText
from shared.settings import Options


class SplitSettings(Options):
    """The array, and the place of an item."""

    items: ExpressionText
    """A JSONata expression over the entity that gives the array."""

    into: PathText | None = None
    """The path at which an item is set in a copy of the entity, such as `data.line`. By default the item is the new
    entity."""


class SplitOptions(StepOptions):
    """Makes an event of each item of an array; undefined, null and an empty array make none."""

    kind: ClassVar = "split"
    example: ClassVar = Example(
        "split: {items: lines, into: data.lines}",
        [
            (
                {"id": "orders:7", "data": {"order": 7, "lines": [{"sku": "A"}, {"sku": "B"}]}},
                [
                    {"id": "orders:7/1", "data": {"order": 7, "lines": {"sku": "A"}}},
                    {"id": "orders:7/2", "data": {"order": 7, "lines": {"sku": "B"}}},
                ],
            )
        ],
    )

    split: Annotated[
        Annotated[SplitSettings, Tag("settings")] | Annotated[ExpressionText, Tag("an expression")],
        Discriminator(lambda written: "settings" if isinstance(written, dict | SplitSettings) else "an expression"),
    ]
    """A JSONata expression that gives the array, such as `lines`; or settings. The events have the ids `<id>/1`,
    `<id>/2` and so on, the same each time, and keep their order. One item that fails later sends the whole event to the
    dead letter."""

    @property
    def settings(self) -> SplitSettings:
        """The settings, however they are written."""
        return SplitSettings(items=self.split) if isinstance(self.split, str) else self.split

    def expressions(self) -> list[str]:
        return [self.settings.items]

    def build(self, context: StepContext) -> Step:  # noqa: ARG002 -- it needs nothing
        return Split(self.settings)


class Split:
    def __init__(self, settings: SplitSettings) -> None:
        self._items = Expression(settings.items)
        self._into = None if settings.into is None else parse(settings.into)

    def apply(self, draft: Draft) -> Sequence[Draft]:
        # A JSONata sequence of one item is the item: the array brackets keep it one.
        found = self._items.value(draft)
        items = items_of(found if found is None or found[:1] == b"[" or found == b"null" else b"[%b]" % found, "items")
        if self._into is None:
            return draft.copies_with(items)
        made = draft.numbered_copies(len(items))
        for copy, item in zip(made, items, strict=True):
            put(copy, self._into, item)
        return made
