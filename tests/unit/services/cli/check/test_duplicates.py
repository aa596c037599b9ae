"""Sources that read the same are named."""

from typing import Any

import pytest

from services.cli.check.duplicates import warnings
from services.standalone.settings import WholeSettings

FILE = {"kind": "file", "path": "a.csv", "subject": "id", "type": "t", "channel": "c"}
TABLE = {"kind": "table", "url": "postgresql://a@db/a", "password": "p", "table": "t", "type": "t", "channel": "c"}
WEBHOOK = {
    "kind": "webhook",
    "verify": {"kind": "github", "secrets": ["0123456789abcdef0123456789abcdef"]},
    "type": "t",
    "channel": "c",
}


def found(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    settings = WholeSettings.model_validate({"system": {"sources": {"first": first, "second": second}}})
    return [str(warning) for warning in warnings(settings.system.sources)]


@pytest.mark.parametrize("source", [FILE, TABLE])
def test_a_source_that_reads_the_same_is_named(source: dict[str, Any]) -> None:
    for second in (source, source | {"interval": 7, "batch": 50}):
        (warning,) = found(source, second)
        assert warning.startswith("system.sources.second: reads the same as source 'first', for the same channel: ")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (FILE, FILE | {"path": "b.csv"}),
        (FILE, FILE | {"channel": "d"}),
        (TABLE, TABLE | {"table": "u"}),
        (FILE, TABLE),
        (WEBHOOK, WEBHOOK),
    ],
)
def test_others_are_not(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert found(first, second) == []


DROP = FILE | {"path": "/in/*.csv", "mode": "drop"}
REMOTE = DROP | {"path": "s3://in/*.csv", "format": "csv"}


@pytest.mark.parametrize("path", ["/in/*.csv", "/in/orders-*.csv", "/in/orders.csv", "/*/*.csv", "/in/**/*.csv"])
@pytest.mark.parametrize("after", ["archive", "delete"])
def test_a_source_that_takes_files_from_another_one_is_named(path: str, after: str) -> None:
    (warning,) = found(DROP | {"drop": {"after": after}}, DROP | {"path": path, "channel": "d"})
    assert warning.startswith(
        f"system.sources.first.drop: after: {after} takes files away that source 'second' reads as well ({path}), and"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (DROP, DROP | {"channel": "d"}),
        (DROP | {"drop": {"after": "delete"}}, DROP | {"path": "/other/*.csv"}),
        (DROP | {"drop": {"after": "delete"}}, DROP | {"path": "/in/*.tsv"}),
        (DROP | {"drop": {"after": "delete"}}, TABLE),
        (REMOTE | {"drop": {"after": "delete"}}, REMOTE | {"path": "s3://in/*.tsv"}),
    ],
)
def test_sources_that_take_nothing_from_each_other_are_not(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert found(first, second) == []


def test_remote_files_are_taken_from_another_source_as_well() -> None:
    (warning,) = found(REMOTE | {"drop": {"after": "delete"}}, REMOTE | {"channel": "d"})
    assert "takes files away that source 'second' reads as well (s3://in/*.csv)" in warning
