"""The text of a query that is read in place of a table: one SELECT, which becomes a subquery of each statement.

The database decides what is a SELECT: it has to accept the text alone, so that nothing in it can end the subquery, and
then the text within a subquery, where it accepts no other kind of statement.
"""

import re

NAME = "query"
"""What stands for the name of a table in logs and dead letters."""

_LEADING = re.compile(r"(?:\s+|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_FIRST_WORDS = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})
_SHOWN = 20


def checked_query(text: str) -> str:
    """Return a query without the semicolon at its end.

    Raises:
        ValueError: it begins as no query does.
    """
    query = text.strip().removesuffix(";").rstrip()
    rest = query[_LEADING.match(query).end() :]  # type: ignore[union-attr] # it matches an empty text
    word = re.match(r"\w*", rest)[0]  # type: ignore[index] # it matches an empty text
    if word.upper() not in _FIRST_WORDS or "\0" in query:
        raise ValueError(f"found {rest[:_SHOWN]!r}; expected a SELECT, or one that begins with WITH or VALUES")
    return query


def subquery(query: str) -> str:
    """Return a query as a subquery; a comment may be at its end."""
    return f"(\n{query}\n)"
