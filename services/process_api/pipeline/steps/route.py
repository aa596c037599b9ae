"""`- route: '"orders." & region'`: the channel, by what the event holds."""

import functools
from collections.abc import Sequence
from typing import Annotated

import msgspec
from pydantic import Discriminator, Field, Tag

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.expression.expression import Expression
from services.process_api.pipeline.steps.step import ChannelName, ExpressionText
from shared.errors import Malformed
from shared.events.event import channel
from shared.settings import Options

# Channels are few and events are many; a name that is wrong is not kept.
_checked = functools.lru_cache(maxsize=4096)(channel)
_string = msgspec.json.Decoder(str).decode


class RouteTable(Options):
    """Looks the channel up."""

    by: ExpressionText
    """What is looked up: often a member, such as `region`. Numbers and booleans are looked up as JSON writes them."""

    table: Annotated[dict[str, ChannelName], Field(min_length=1)]
    """The channel for each value."""

    default: ChannelName | None = None
    """For every other value, and for none. Without it, the event goes to the dead letter."""


class RouteOptions(Options):
    """Decides on the channel."""

    route: Annotated[
        Annotated[RouteTable, Tag("a table")] | Annotated[ExpressionText, Tag("an expression")],
        Discriminator(lambda written: "a table" if isinstance(written, dict | RouteTable) else "an expression"),
    ]
    """A JSONata expression over the entity that gives the channel (a constant one is the pipeline's `channel`
    instead), or a table. An expression that gives nothing leaves the pipeline's `channel`."""

    @property
    def expression(self) -> str:
        """What is evaluated, in either form."""
        return self.route if isinstance(self.route, str) else self.route.by


def build_route(options: RouteOptions) -> "Route | TableRoute":
    """Make the step, in either form."""
    return Route(options.route) if isinstance(options.route, str) else TableRoute(options.route)


class Route:
    """The step, by an expression."""

    def __init__(self, expression: str) -> None:
        self._expression = Expression(expression)

    def apply(self, draft: Draft) -> Sequence[Draft]:
        """Return the event with its channel."""
        found = self._expression.text(draft)
        if found is not None:
            draft.channel = _checked(found)
        return (draft,)


class TableRoute:
    """The step, by a table."""

    def __init__(self, options: RouteTable) -> None:
        self._expression = Expression(options.by)
        self._by = options.by
        self._table = {value: channel(name) for value, name in options.table.items()}
        self._default = None if options.default is None else channel(options.default)

    def apply(self, draft: Draft) -> Sequence[Draft]:
        """Return the event with its channel."""
        value = self._expression.value(draft)
        decided = self._default if value is None else self._table.get(_name(value), self._default)
        if decided is None:
            shown = "nothing" if value is None else value[:80].decode(errors="replace")
            raise Malformed(f"{self._by} is {shown}, for which the table has no channel, and there is no default")
        draft.channel = decided
        return (draft,)


def _name(value: bytes) -> str:
    return _string(value) if value[:1] == b'"' else value.decode()
