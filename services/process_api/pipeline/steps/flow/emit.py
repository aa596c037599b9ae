"""`- emit: [orders.all, =team]`: the same event on several channels."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.step import Example, Step, StepOptions
from shared.errors import Malformed
from shared.events.event import Channel, channel
from shared.expression.expression import Expression
from shared.expression.settings import check_expression

_MARK = "="


def _channel_or_expression(written: str) -> str:
    if written.startswith(_MARK):
        check_expression(written[len(_MARK) :])
        return written
    try:
        return channel(written)
    except Malformed as exc:
        raise ValueError(str(exc)) from None


class EmitOptions(StepOptions):
    """Puts each event on several channels."""

    kind: ClassVar = "emit"
    example: ClassVar = Example(
        "emit: [orders.all, =team]",
        [
            (
                {"data": {"team": "sales"}},
                [{"channel": "orders.all", "data": {"team": "sales"}}, {"channel": "sales", "data": {"team": "sales"}}],
            ),
            ({"data": {}}, [{"channel": "orders.all", "data": {}}]),
        ],
    )

    emit: Annotated[list[Annotated[str, AfterValidator(_channel_or_expression)]], Field(min_length=1, max_length=100)]
    """The channels. A text that begins with `=` is an expression that gives one; where it is undefined, the event is
    not put on a channel by it. Each channel gets the event once, with the same id. The steps behind run on each; a
    `dedupe`, `latest`, `aggregate` or `join` has to stand before it."""

    def expressions(self) -> list[str]:
        return [written[len(_MARK) :] for written in self.emit if written.startswith(_MARK)]

    def channels(self) -> Sequence[str] | None:
        return None if self.expressions() else self.emit

    def copies(self) -> bool:
        return len(self.emit) > 1

    def build(self, context: StepContext) -> Step:  # noqa: ARG002 -- it needs nothing
        return Emit(self)


class Emit:
    def __init__(self, options: EmitOptions) -> None:
        self._channels: list[Channel | Expression] = [
            Expression(written[len(_MARK) :]) if written.startswith(_MARK) else channel(written)
            for written in options.emit
        ]

    def apply(self, draft: Draft) -> Sequence[Draft]:
        found = [each if isinstance(each, str) else each.text(draft) for each in self._channels]
        made = []
        for name in dict.fromkeys(name for name in found if name is not None):
            copy = draft.clone()
            copy.channel = channel(name)
            made.append(copy)
        return made
