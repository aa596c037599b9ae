"""Events of two sources that belong together become one."""

import json
import random
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from services.process_api.pipeline.steps.registry import AnyStep
from services.process_api.pipeline.steps.stateful import join as join_step
from services.process_api.pipeline.steps.stateful import waiting_events
from shared.errors import Malformed
from tests.unit.services.process_api.pipeline.steps.stateful.stepping import START, Stepping, data_of

SECOND = 1000


def join(**more: Any) -> Any:
    return {"join": {"left": "orders", "right": "payments", "within": 60, **more}}


def send(bench: Stepping, source: str, data: Any, at: int, **more: Any) -> list[dict[str, Any]]:
    seconds = at * SECOND
    return bench.send(data, at=seconds, written=max(seconds, bench.now), source=f"/sources/{source}", **more)


def test_a_pair_becomes_one_event_whichever_came_first() -> None:
    bench = Stepping(join())
    assert send(bench, "orders", 1, 0, id="o1") == []
    [made] = send(bench, "payments", 2, 60, id="p1", type="paid")
    assert made["data"] == {"left": 1, "right": 2}
    assert (made["id"], made["type"], made["source"]) == ("o1+p1", "paid", "/sources/payments")
    [made] = send(bench, "orders", 3, 30, id="o2")
    assert (made["data"], made["id"]) == ({"left": 3, "right": 2}, "o2+p1")


def test_events_of_other_subjects_parts_and_times_do_not_belong_together() -> None:
    bench = Stepping(join(by="k"))
    send(bench, "orders", {"k": 1}, 0)
    assert send(bench, "payments", {"k": 2}, 0) == []
    assert send(bench, "payments", {"k": 1}, 0, subject="C-2") == []
    assert len(send(bench, "payments", {"k": 1}, 60)) == 1
    assert send(bench, "payments", {"k": 1}, 61) == []


def test_an_expression_merges() -> None:
    bench = Stepping(join(merge='{"sum": left.a + right.a, "big": left.big}'))
    send(bench, "orders", {"a": 1, "big": 2}, 0)
    assert data_of(send(bench, "payments", {"a": 2}, 0)) == [{"sum": 3, "big": 2}]
    bench = Stepping(join(merge="left.absent"))
    send(bench, "orders", {}, 0)
    with pytest.raises(Malformed, match="`merge` is undefined for this pair"):
        send(bench, "payments", {}, 0)


def test_an_event_of_a_third_source_is_rejected() -> None:
    with pytest.raises(Malformed, match="of the source '/sources/other'; expected orders and payments"):
        send(Stepping(join()), "other", 1, 0)


def test_content_other_than_json_is_rejected_and_not_dropped() -> None:
    bench = Stepping(join())
    send(bench, "orders", 1, 0)
    with pytest.raises(Malformed, match="the event's data is not JSON"):
        send(bench, "payments", None, 0, data_base64="AAE=")


def test_two_sources_are_needed() -> None:
    with pytest.raises(ValidationError, match="left and right are both 'orders'"):
        TypeAdapter(AnyStep).validate_python(join(right="orders"))


def test_what_is_over_is_deleted_and_what_comes_then_is_late() -> None:
    bench = Stepping(join(lateness=10))
    send(bench, "orders", 1, 0)
    send(bench, "orders", 2, 70)
    assert bench.stored() == 3
    send(bench, "orders", 3, 71)
    assert bench.stored() == 3
    with pytest.raises(Malformed, match="late"):
        send(bench, "payments", 1, 0)
    send(bench, "payments", 1, 500, subject="other")
    assert bench.stored() == 2


@pytest.mark.parametrize("mode", ["inner", "left"])
@pytest.mark.parametrize("lateness", [0, 10])
def test_an_event_waits_for_all_that_are_in_time(mode: str, lateness: int) -> None:
    bench = Stepping(join(mode=mode, lateness=lateness))
    send(bench, "orders", 1, 0)
    # Another event lets the time pass up to the last moment of a match.
    assert send(bench, "payments", "other", 60 + lateness, subject="C-2") == []
    assert data_of(send(bench, "payments", 2, 60)) == [{"left": 1, "right": 2}]
    assert data_of(send(bench, "orders", 3, 0)) == [{"left": 3, "right": 2}]


def test_a_left_join_passes_what_has_no_match_once_its_time_is_over() -> None:
    bench = Stepping(join(mode="left", idle=5))
    send(bench, "orders", "matched", 0)
    send(bench, "payments", "p", 1)
    send(bench, "orders", "too", 2)
    send(bench, "orders", "late match", 3)
    send(bench, "orders", "alone", 4, subject="C-2", channel="own")
    send(bench, "orders", "before", 10, subject="C-3")
    assert [made["data"]["left"] for made in send(bench, "payments", "q", 11, subject="C-3")] == ["before"]
    assert bench.next_due is not None
    [made] = bench.tick(200 * SECOND)
    assert made["data"] == {"left": "alone", "right": None}
    assert bench.stored() == 0


def test_a_left_join_passes_all_that_one_call_leaves_at_once() -> None:
    bench = Stepping(join(mode="left"))
    for number in range(250):
        send(bench, "orders", number, 0, subject=f"s{number}")
    made = send(bench, "payments", 1, 1000)
    while bench.next_due is not None and bench.next_due <= bench.now:
        made += bench.tick(bench.now)
    assert sorted(each["data"]["left"] for each in made) == list(range(250))


def test_an_unmatched_event_that_cannot_be_merged_is_rejected_alone() -> None:
    bench = Stepping(join(mode="left", merge='left < 0 ? {"root": $sqrt(left)} : left'))
    send(bench, "orders", -1, 0, id="bad", subject="C-2")
    send(bench, "orders", 4, 1, id="good")
    bench.state.set_number(b"watermark", START + 200_000)
    bad, good = bench.step.due(bench.state)
    assert str(bad.failed).startswith("steps.0: the expression failed: D3060")
    assert (json.loads(bad.value())["id"], json.loads(bad.value())["data"]) == ("bad", -1)
    assert (json.loads(good.value())["data"], good.failed) == (4, None)


def test_events_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_events, "MOST", 100)
    bench = Stepping(join())
    for number in range(100):
        send(bench, "orders", number, 0)
    with pytest.raises(Malformed, match="101 events of one subject and source wait"):
        send(bench, "orders", 1, 0)
    assert len(send(bench, "payments", 1, 0)) == 100, "what was refused left nothing"
    bench = Stepping(join())
    for _ in range(27):
        send(bench, "orders", "x" * 600_000, 0)
    with pytest.raises(Malformed, match="the limits are 100 and 16777216"):
        send(bench, "orders", "x" * 600_000, 0)


def test_the_pairs_of_one_event_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join_step, "_MOST_PAIRED", 10_000)
    bench = Stepping(join())
    for _ in range(20):
        send(bench, "orders", "x" * 100, 0)
    with pytest.raises(Malformed, match=r"the event makes 20 pairs of \d+ bytes together; the limit is 10000"):
        send(bench, "payments", "x" * 400, 0)
    assert len(send(bench, "payments", "x", 0)) == 20
    assert len(send(bench, "orders", "x", 0)) == 1, "what was refused does not wait"


@pytest.mark.parametrize("small", [0, 2, 8, "as an earlier release at first"])
@pytest.mark.parametrize("mode", ["inner", "left"])
def test_random_events_as_a_plain_model(
    mode: str, small: int | str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    earlier = isinstance(small, str)
    monkeypatch.setattr(waiting_events, "_SMALL", 10**6 if earlier else small)
    monkeypatch.setattr(waiting_events, "_SMALL_BYTES", 10**9 if earlier else 8192)
    rng, bench = random.Random(seed), Stepping(join(mode=mode, lateness=200))
    sides: dict[str, list[tuple[int, str, int]]] = {"orders": [], "payments": []}
    made: list[Any] = []
    clock = 0
    for number in range(500):
        clock += rng.choice([0, 1, 5, 20])
        if number == 250 and earlier:
            monkeypatch.undo()
        at, source, subject = max(0, clock - rng.randrange(100)), rng.choice(list(sides)), rng.choice("abc")
        sides[source].append((at, subject, number))
        made += data_of(send(bench, source, number, at, subject=subject))
        bench.transact(rng)
        if rng.random() < 0.05:
            bench.begin()
    made += data_of(send(bench, "payments", -1, clock + 1000, subject="z"))
    while more := bench.due():
        made += data_of(more)
    assert bench.stored() == 2, "the last event and its timer"
    expected = [
        (left[2], right[2])
        for left in sides["orders"]
        for right in sides["payments"]
        if left[1] == right[1] and abs(left[0] - right[0]) <= 60
    ]
    alone = {number for _, _, number in sides["orders"]} - {left for left, _ in expected}
    unmatched = {data["left"] for data in made if data["right"] is None}
    assert unmatched == (alone if mode == "left" else set())
    assert sorted((data["left"], data["right"]) for data in made if data["right"] is not None) == sorted(expected)
