"""At most one event in a time for each subject: the latest one."""

import random
from typing import Any

from services.process_api.pipeline.steps.stateful.stored import Stored
from shared.events.event import Channel
from tests.unit.services.process_api.pipeline.steps.stateful.stepping import Stepping, data_of

LATEST = {"latest": {"every": 100}}


def test_the_first_passes_and_of_those_within_the_time_the_last() -> None:
    bench = Stepping(LATEST)
    assert data_of(bench.send(1, written=0)) == [1]
    assert bench.send(2, written=10) == []
    assert bench.send(3, written=20) == []
    assert bench.tick(99) == []
    assert bench.next_due == 100
    assert data_of(bench.tick(100)) == [3]
    assert bench.send(4, written=150) == []
    assert data_of(bench.tick(200)) == [4]
    assert bench.tick(300) == []
    assert bench.stored() == 0
    assert bench.next_due is None


def test_an_event_after_the_time_replaces_the_one_that_waits() -> None:
    bench = Stepping(LATEST)
    bench.send(1, written=0)
    bench.send(2, written=10)
    assert data_of(bench.send(3, written=500)) == [3]
    assert bench.tick(600) == []


def test_subjects_and_parts_of_one_are_independent() -> None:
    bench = Stepping({"latest": {"every": 100, "by": "part"}})
    for part in (1, 2):
        for subject in ("a", "b"):
            assert bench.send({"part": part}, subject=subject, written=0)
    assert not bench.send({"part": 1}, subject="a", written=1)


def test_an_event_that_waited_is_as_it_came() -> None:
    bench = Stepping(LATEST)
    bench.send({"big": 1}, written=0)
    draft = bench.draft({"big": 12345678901234567890}, id="kept", type="x", channel="own")
    for chosen, own in ((None, "own"), ("set", "own")):
        draft.channel = None if chosen is None else Channel(chosen)
        again = Stored.of(draft, bench.state.moment).draft()
        assert (again.channel, again.attribute("channel"), again.attribute("id")) == (chosen, own, "kept")
        assert again.data_text() == b'{"big":12345678901234567890}'
    plain = Stored.of(bench.draft(1), bench.state.moment)
    assert plain.draft().attribute("channel") is None
    assert dict(plain.headers)["trelay-provenance"].startswith(b"orders ")


def test_a_clock_that_was_ahead_in_an_earlier_run_holds_nothing_back() -> None:
    bench = Stepping(LATEST)
    bench.send(1, written=10**9)
    bench.send(2, written=10**9 + 1)
    bench.now = 0
    bench.begin()
    assert bench.tick(1) == []
    assert data_of(bench.tick(2)) == [2]
    bench.begin()
    bench.send(3, written=10**9)
    bench.now = 0
    bench.begin()
    assert data_of(bench.send(4, written=0)) == [4]


def test_random_events_as_a_plain_model(seed: int) -> None:
    rng, bench = random.Random(seed), Stepping(LATEST)
    passed: dict[str, int] = {}
    held: dict[str, Any] = {}
    for number in range(1500):
        now = bench.now + rng.choice([0, 1, 7, 30, 120])
        expected = []
        if rng.random() < 0.5:
            expected = [
                held.pop(subject) for subject in sorted(held, key=lambda s: passed[s]) if now - passed[subject] >= 100
            ]
            for value in expected:
                passed[value.split(" ")[0]] = now
            assert sorted(data_of(bench.tick(now))) == sorted(expected)
        else:
            subject = rng.choice("abcde")
            value = f"{subject} {number}"
            made = data_of(bench.send(value, subject=subject, written=now))
            due = {s for s in held if now - passed[s] >= 100 and s != subject}
            if subject not in passed or now - passed[subject] >= 100:
                assert made[0] == value
                passed[subject] = now
                held.pop(subject, None)
                made = made[1:]
            else:
                held[subject] = value
            assert sorted(made) == sorted(held.pop(s) for s in due)
            for s in due:
                passed[s] = now
        if rng.random() < 0.05:
            bench.begin()
