"""The text of a query, and the subquery that it becomes."""

import pytest

from services.system_api.sources.table.checking.query import checked_query, subquery


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("SELECT 1", "SELECT 1"),
        (" -- a comment\n/* and\none */ (select 1) ;\n", "-- a comment\n/* and\none */ (select 1)"),
        ("WITH x AS (SELECT 1) SELECT * FROM x", "WITH x AS (SELECT 1) SELECT * FROM x"),
        ("SELECT ';' -- all;", "SELECT ';' -- all"),
    ],
    ids=["plain", "comments", "with", "semicolons"],
)
def test_a_query_is_kept_but_for_a_semicolon_at_its_end(text: str, query: str) -> None:
    assert checked_query(text) == query
    assert subquery(query) == f"(\n{query}\n)", "a comment at its end does not reach the parenthesis"


@pytest.mark.parametrize("text", ["DELETE FROM t", "", ";", "-- SELECT 1", "SELECTED", "SELECT '\0'"])
def test_what_does_not_begin_as_a_query_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a SELECT, or one that begins with WITH or VALUES"):
        checked_query(text)
