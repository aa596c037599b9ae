"""What the audit of pipelines that wait and that keep state finds."""

import json
from typing import Any

import pytest

from tests.e2e.audit import Sighting
from tests.e2e.several_brokers.steps import COUNTED, JUDGED, counted, faults, found

WRITTEN = [Sighting("a", 0), Sighting("a", 1), Sighting("a", 2), Sighting("b", 0)]


def window(subject: str, start: int, events: int, total: int) -> dict[str, Any]:
    data = {"events": events, "total": total, "number": total}
    return {"id": f"{subject}:{start}", "channel": COUNTED, "subject": subject, "data": data}


def judged(subject: str, data: Any) -> dict[str, Any]:
    return {"id": subject, "channel": JUDGED, "subject": subject, "data": data}


RIGHT = [window("a", 0, 2, 1), window("a", 2, 1, 2), window("b", 0, 1, 0), judged("a", {"found": found("a")})]


@pytest.mark.parametrize(
    ("published", "fault"),
    [
        (RIGHT, None),
        (RIGHT[1:], "counted: a: counted (1, 2), expected (3, 3)"),
        ([*RIGHT, RIGHT[2]], "counted: 1 windows gave two results: ['b:0']"),
        ([*RIGHT, window("b", 2, 1, 0)], "counted: b: counted (2, 0), expected (1, 0)"),
        ([*RIGHT, judged("b", {})], "judged: 1 events without what the API knows"),
    ],
    ids=["right", "lost", "twice the same", "counted twice", "not looked up"],
)
def test_each_fault_is_found(published: list[dict[str, Any]], fault: str | None) -> None:
    wrong = faults(WRITTEN, [json.dumps(event).encode() for event in published])
    assert wrong[:1] == ([] if fault is None else [fault])


def test_the_events_in_windows_are_counted() -> None:
    assert counted(RIGHT[:3]) == len(WRITTEN)
