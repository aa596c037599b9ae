"""Spans of the statements that SQLAlchemy executes; see `spans`."""

from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from shared.database.spans import begun, end
from shared.runtime.trace import Attributes, client_spans

_SPAN = "trelay_span"


def trace_engine(engine: Engine, attributes: Attributes) -> None:
    """Make a span of each statement that an engine executes; `attributes` name the database."""

    @event.listens_for(engine, "before_cursor_execute", named=True)
    def before(**call: Any) -> None:
        if (spans := client_spans()) is not None and call["context"] is not None:
            setattr(call["context"], _SPAN, begun(spans, call["statement"], attributes))

    @event.listens_for(engine, "after_cursor_execute", named=True)
    def after(**call: Any) -> None:
        end(getattr(call["context"], _SPAN, None))

    @event.listens_for(engine, "handle_error")
    def failed(context: ExceptionContext) -> None:
        end(getattr(context.execution_context, _SPAN, None), context.original_exception)
