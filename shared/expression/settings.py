"""The type of an expression in the settings."""

from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field

from shared.expression import names
from shared.expression.expression import Expression


def check_expression(written: str, variables: frozenset[str] = names.VARIABLES) -> str:
    """Return an expression as it is written; `variables` are those that Trelay binds, without the `$`.

    Raises:
        ValueError: it does not compile, or names a function or a variable that does not exist.
    """
    Expression(written)
    if unknown := names.unknown(written, variables):
        raise ValueError("; ".join(unknown))
    return written


_schema = Field(json_schema_extra={"minLength": 1})

ExpressionText = Annotated[str, AfterValidator(check_expression), _schema]
"""A JSONata expression over an event; it compiles, and what it names exists."""

ValueExpressionText = Annotated[str, AfterValidator(partial(check_expression, variables=frozenset())), _schema]
"""A JSONata expression over a JSON value, without `$event`; it compiles, and what it names exists."""
