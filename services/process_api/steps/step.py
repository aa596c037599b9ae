"""What a pipeline asks of a step."""

from collections.abc import Sequence
from typing import Annotated, Protocol

from pydantic import AfterValidator, Field

from services.process_api.draft import Draft
from services.process_api.expression import names
from services.process_api.expression.expression import Expression
from services.process_api.paths import PATTERN, parse
from shared.errors import Malformed
from shared.event import CHANNEL_LIMIT, CHANNEL_PATTERN, channel


class Step(Protocol):
    """One operation on one event. Knows nothing of other events, and does no I/O."""

    def apply(self, draft: Draft) -> Sequence[Draft]:
        """Return what goes on to the next step: the event, changed in place or not; none; or several.

        The same event always gives the same, for it may come again after a crash. Of an event that a step fails on
        nothing passes, so one that was changed half-way does no harm.

        Raises:
            Malformed: this event can never pass; the text says why.
            Unavailable: not now; the partition waits, and the event comes again.
        """
        ...


def check_expression(written: str) -> str:
    """Return an expression as it is written.

    Raises:
        ValueError: it does not compile, or names a function or a variable that does not exist.
    """
    Expression(written)
    if unknown := names.unknown(written):
        raise ValueError("; ".join(unknown))
    return written


def _path(written: str) -> str:
    parse(written)
    return written


def _channel(written: str) -> str:
    try:
        return channel(written)
    except Malformed as exc:
        raise ValueError(str(exc)) from None


ExpressionText = Annotated[str, AfterValidator(check_expression), Field(json_schema_extra={"minLength": 1})]
"""A JSONata expression, as `expression` describes it; it compiles, and what it names exists."""

PathText = Annotated[str, AfterValidator(_path), Field(json_schema_extra={"pattern": PATTERN})]
"""A path to something in an event that may be changed; see `paths`."""

ChannelName = Annotated[
    str,
    AfterValidator(_channel),
    Field(json_schema_extra={"pattern": CHANNEL_PATTERN, "maxLength": CHANNEL_LIMIT}),
]
"""Dotted words."""
