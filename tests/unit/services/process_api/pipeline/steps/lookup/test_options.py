"""The settings of `enrich`."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.process_api.pipeline.steps.lookup.options import EnrichSettings, HttpLookup, SqlLookup

QUERY = "SELECT id FROM t WHERE id IN :keys"


def test_a_password_is_moved_out_of_the_url() -> None:
    made = SqlLookup(url="postgresql://u:secret@h/d", query=QUERY)
    assert made.url == "postgresql://u@h/d"
    assert made.password is not None
    assert made.sqlite_file is None
    assert SqlLookup(url="sqlite:////x/y.db", query=QUERY).sqlite_file == "/x/y.db"


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({"url": "sqlite:///a", "query": "SELECT 1"}, "found no ':keys'"),
        ({"url": "oracle://h/d", "query": QUERY}, "expected postgresql://"),
        ({"url": "postgresql://h", "query": QUERY}, "expected postgresql://"),
        ({"url": "sqlite:///", "query": QUERY}, "expected postgresql://"),
        (
            {"url": "postgresql://u:a@h/d", "password": "b", "query": QUERY},
            "found a password in `url` and in `password`",
        ),
        ({"url": 5, "query": QUERY}, "valid string"),
        ({"url": "postgresql://[::1/d", "query": QUERY}, "url"),
    ],
)
def test_a_malformed_database_is_refused(written: Any, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        SqlLookup.model_validate(written)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({"url": "https://a/b"}, "found no '{key}'"),
        ({"url": "https://a/{key}", "batch": {"key": "id"}}, "found no '{keys}'"),
        ({"url": "http://127.0.0.1/{key}"}, "add it to network.allow"),
    ],
)
def test_a_malformed_request_is_refused(written: Any, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        HttpLookup.model_validate(written)


def test_exactly_one_place_is_looked_up_in() -> None:
    for places in ({}, {"sql": {"url": "sqlite:///a", "query": QUERY}, "http": {"url": "https://a/{key}"}}):
        with pytest.raises(ValidationError, match="exactly one of sql, http and file"):
            EnrichSettings.model_validate({"key": "a", "into": "data.b", **places})
