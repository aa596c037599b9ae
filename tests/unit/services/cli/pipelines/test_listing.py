"""Pipelines as text for a terminal."""

from typing import Any

from services.cli.pipelines.listing import details, plan, table

PIPELINE: dict[str, Any] = {
    "name": "orders",
    "state": "held",
    "version": "v1",
    "sources": ["orders", "eu.*"],
    "channel": None,
    "steps": [],
    "stateful": True,
    "paused": {"by": "alice", "reason": "", "at": "noon"},
    "held": [{"partition": 2, "step": "steps.0.enrich", "error": "no answer", "since": "noon"}],
    "lag": None,
    "partitions": {
        "0": {"replica": None},
        "1": {"replica": "a", "position": 4, "end": 9, "waiting": 5},
    },
    "events": {"taken": 3, "published": 2, "dead_letters": 1},
    "rates": {"published_per_second": 0.5, "dead_letters_per_second": 0.0},
    "state_size": {"steps.1.dedupe": {"keys": 3, "bytes": 90}},
    "last_error": {"error": "it failed", "origin": "t/0/7", "at": "noon"},
    "rewind": {"to": '"beginning"', "by": "bob", "at": "noon", "state": "pending"},
    "replicas": {"a": {"version": "v1"}, "b": {"version": "v2"}, "c": {"version": None}},
}


def test_a_table_shows_a_pipeline_a_line() -> None:
    assert table({"orders": PIPELINE, "a": {**PIPELINE, "lag": 7}}) == [
        "PIPELINE  STATE  VERSION  LAG  EVENTS/S  REJECTED  REPLICAS",
        "a         held   v1       7    0.5       1         3",
        "orders    held   v1       ?    0.5       1         3",
    ]


def test_everything_about_one() -> None:
    assert list(details(PIPELINE)) == [
        "orders: held",
        "  version    v1 (other replicas have another one: b: v2, c: none)",
        "  sources    orders, eu.*",
        "  channel    set by a step",
        "  steps      none (keeps state)",
        "  events     3 taken, 2 published, 1 rejected",
        "  rate       0.5 published a second",
        "  state      steps.1.dedupe: 3 keys, 90 bytes",
        "  paused     by alice at noon",
        "  held       partition 2 by steps.0.enrich since noon: no answer",
        "  last error noon, t/0/7: it failed",
        '  rewind     to "beginning" by bob at noon: pending',
        "  partition 0: no replica",
        "  partition 1: a, at 4 of 9, 5 waiting",
    ]
    quiet: dict[str, Any] = {"paused": None, "held": [], "last_error": None, "rewind": None, "partitions": {}}
    quiet |= {"channel": "c", "state_size": {}}
    lines = list(details({**PIPELINE, **quiet, "stateful": False, "steps": ["steps.0.map"], "replicas": {}}))
    assert lines[1:5] == ["  version    v1", "  sources    orders, eu.*", "  channel    c", "  steps      steps.0.map"]
    assert len(lines) == 7
    reasoned = {**PIPELINE, "paused": {"by": "alice", "reason": "repair", "at": "noon"}}
    assert "  paused     by alice at noon: repair" in list(details(reasoned))


def test_the_plan_of_a_rewind() -> None:
    partitions = {"0": {"to": 1, "position": 5, "events": 3}}
    planned = {"partitions": partitions, "events": 3, "exact": False, "refused": "it keeps state"}
    assert list(plan("orders", planned)) == [
        "partition 0: from offset 1 to before 5, 3 events",
        "orders would take at least 3 events again",
        "refused: it keeps state",
    ]
    assert list(plan("orders", {**planned, "exact": True, "refused": None}))[1:] == ["orders would take 3 events again"]
    assert list(plan("orders", {"partitions": {}})) == [
        "orders has not passed that place in any partition: nothing would run again"
    ]


def test_what_is_not_known_is_named() -> None:
    shown = list(details({**PIPELINE, "unknown": {"lag": "the bus is not connected"}}))
    assert "  unknown    lag: the bus is not connected" in shown
