"""Sources as text."""

from typing import Any

import pytest

from services.cli.sources.listing import details, duration, reconciled, rewind, table, windows


def source(**more: Any) -> dict[str, Any]:
    return {
        "state": "running",
        "owner": "node-1",
        "epoch": 3,
        "as_of": "2026-01-31T12:00:00.000Z",
        "stale": False,
        "caught_up_seconds_ago": 0.42,
        "published_per_second": 12.5,
        "error": None,
        "problems": [],
        "counts": {"rows": 10, "published": 9, "rejected": 1, "skipped": 0, "unaccounted": 0},
        "position": {"": "7"},
        "request": None,
        **more,
    }


def test_a_table_has_a_row_for_each_source() -> None:
    found = list(
        table(
            {"orders": source(), "rates": source(state="down", owner=None, error="refused", caught_up_seconds_ago=None)}
        )
    )
    assert found == [
        "SOURCE  STATE    OWNER   LAG    EVENTS/S  PUBLISHED  REJECTED  NOTE",
        "orders  running  node-1  0.4 s  12.5      9          1",
        "rates   down     -       -      12.5      9          1         refused",
    ]


@pytest.mark.parametrize(
    ("more", "note"),
    [
        ({"problems": ["a.csv: no header"]}, "a.csv: no header"),
        ({"counts": {"published": 1, "rejected": 0, "unaccounted": -2}}, "-2 rows unaccounted for"),
        ({"request": {"command": "rewind", "state": "pending"}}, "rewind pending"),
        ({"request": {"command": "rewind", "state": "done"}}, ""),
        ({"stale": True}, "as of 2026-01-31T12:00:00.000Z"),
        ({"error": "x" * 100}, "x" * 59 + "…"),
        ({"error": "a\x1b[31mb\nc"}, "a\\x1b[31mb\\nc"),
    ],
)
def test_the_note_says_what_a_reader_should_know_first(more: dict[str, Any], note: str) -> None:
    line = list(table({"orders": source(**more)}))[1]
    assert line.endswith(note)


def test_the_details_leave_out_what_is_empty() -> None:
    lines = list(details(source(problems=["a.csv: no header"], waiting=[])))
    assert "state: running" in lines
    assert "  - a.csv: no header" in lines
    assert "  (all): 7" in lines
    assert not [line for line in lines if line.startswith(("error", "waiting", "request"))]


def test_a_rewind_is_shown_from_and_to() -> None:
    shown = list(rewind("orders", {"parts_moved": 1, "from": {"": "7", "a": "1"}, "to": {}, "events": 12}))
    assert shown == [
        "source orders: 1 part of its position would change",
        "  now: 7",
        "  now: a: 1",
        "  then: the beginning",
        "  about 12 events come again",
        "The events in between come again, with the ids that they had.",
    ]


def test_a_rewind_may_not_know_how_many_events_come_again() -> None:
    shown = list(rewind("orders", {"parts_moved": 2, "from": {"": "7"}, "to": {"": "1"}}))
    assert shown[0] == "source orders: 2 parts of its position would change"
    assert not [line for line in shown if line.startswith("  about")]


def test_counts_by_hour_are_a_table() -> None:
    window = {"from": "2026-01-31T12:00:00Z", "rows": 10, "published": 9, "rejected": 1, "skipped": 0}
    header, line = windows([window])
    assert header.split() == ["HOUR", "ROWS", "PUBLISHED", "REJECTED", "SKIPPED"]
    assert line.split() == ["2026-01-31T12:00:00Z", "10", "9", "1", "0"]
    assert len(header) == len(line)


def test_a_complete_comparison_says_nothing_of_what_was_not_kept() -> None:
    found = {"name": "orders", "from": "a", "to": "b", "upstream": 10, "published": 10, "events": 12}
    assert list(reconciled(found | {"difference": 0, "complete": True}))[-1] == "  no difference"


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (0, "no difference"),
        (2, "2 are not published, or their events are not kept any more"),
        (-1, "1 are published and not upstream any more"),
    ],
)
def test_a_comparison_tells_what_a_difference_means(difference: int, said: str) -> None:
    found = {"name": "orders", "from": "a", "to": "b", "upstream": 10 + difference, "published": 10, "events": 12}
    lines = list(reconciled(found | {"difference": difference, "complete": False}))
    assert lines[0] == "source orders, a to b"
    assert f"  {said}" in lines
    assert lines[-1] == "  the topic has not kept all events of this range"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.0, "0.0 s"), (59.9, "59.9 s"), (90, "2 min"), (5400, "1.5 h"), (129_600, "1.5 d")],
)
def test_a_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
