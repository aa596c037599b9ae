"""`- route: '"orders." & region'`: the channel of an event, computed from its content."""

import functools
from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec
from pydantic import Discriminator, Field, Tag

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.step import ChannelName, Example, Step, StepOptions
from shared.errors import Malformed
from shared.events.event import channel
from shared.expression.expression import Expression
from shared.expression.settings import ExpressionText
from shared.settings import Options

# Channels are few and events are many. A malformed name is not cached.
_checked = functools.lru_cache(maxsize=4096)(channel)
_string = msgspec.json.Decoder(str).decode


class RouteTable(Options):
    """Looks the channel up in a table."""

    by: ExpressionText
    """An expression for the key, often a member such as `region`. Numbers and booleans are keys as JSON writes them."""

    table: Annotated[dict[str, ChannelName], Field(min_length=1)]
    """The channel for each key."""

    default: ChannelName | None = None
    """The channel for all other keys, and for an undefined one. Without it, such an event goes to the dead letter."""


class RouteOptions(StepOptions):
    """Sets the channel of the event."""

    kind: ClassVar = "route"
    example: ClassVar = Example(
        "route: {by: region, table: {eu: orders.eu, us: orders.us}, default: orders.other}",
        [
            ({"data": {"region": "eu"}}, [{"channel": "orders.eu"}]),
            ({"data": {"region": "jp"}}, [{"channel": "orders.other"}]),
        ],
    )

    route: Annotated[
        Annotated[RouteTable, Tag("a table")] | Annotated[ExpressionText, Tag("an expression")],
        Discriminator(lambda written: "a table" if isinstance(written, dict | RouteTable) else "an expression"),
    ]
    """A JSONata expression over the entity that gives the channel, such as `'"orders." & region'`; or a table. The
    pipeline's `channel` applies where the expression is undefined. It is also the place for a constant channel."""

    def expressions(self) -> list[str]:
        return [self.route if isinstance(self.route, str) else self.route.by]

    def channels(self) -> Sequence[str] | None:
        if isinstance(self.route, str):
            return None
        return [*self.route.table.values(), *([] if self.route.default is None else [self.route.default])]

    def build(self, context: StepContext) -> Step:  # noqa: ARG002 -- it needs nothing
        return Route(self.route) if isinstance(self.route, str) else TableRoute(self.route)


class Route:
    def __init__(self, expression: str) -> None:
        self._expression = Expression(expression)

    def apply(self, draft: Draft) -> Sequence[Draft]:
        found = self._expression.text(draft)
        if found is not None:
            draft.channel = _checked(found)
        return (draft,)


class TableRoute:
    def __init__(self, options: RouteTable) -> None:
        self._expression = Expression(options.by)
        self._by = options.by
        self._table = {value: channel(name) for value, name in options.table.items()}
        self._default = None if options.default is None else channel(options.default)

    def apply(self, draft: Draft) -> Sequence[Draft]:
        value = self._expression.value(draft)
        decided = self._default if value is None else self._table.get(_name(value), self._default)
        if decided is None:
            shown = "undefined" if value is None else value[:80].decode(errors="replace")
            raise Malformed(f"{self._by} is {shown}, which is not in the table, and there is no default")
        draft.channel = decided
        return (draft,)


def _name(value: bytes) -> str:
    return _string(value) if value[:1] == b'"' else value.decode()
