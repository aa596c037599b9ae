"""From which offset each pipeline runs, compared with a model that runs each pipeline by itself."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.process_api.operations.gate import Ahead, Gate
from services.process_api.operations.starts import Starts, number_of
from services.process_api.pipeline.part import Part
from tests.unit.services.process_api.making import pipeline

NAMES = ("a", "b", "c")
Action = tuple[str, int] | int
actions = st.lists(st.one_of(st.tuples(st.sampled_from(NAMES), st.integers(0, 30)), st.integers(1, 15)), max_size=12)


@given(actions)
def test_each_pipeline_runs_each_record_once_and_again_from_where_it_was_rewound(given: list[Action]) -> None:
    pipelines = [pipeline(name=name) for name in NAMES]
    committed, starts = 0, Starts("epoch")
    ran: dict[str, list[int]] = {name: [] for name in NAMES}
    expected: dict[str, list[int]] = {name: [] for name in NAMES}
    positions = dict.fromkeys(NAMES, 0)
    for number, action in enumerate(given):
        if isinstance(action, int):
            for offset in range(committed, committed + action):
                for each in starts.running(pipelines, offset):
                    ran[each.name].append(offset)
            committed += action
            for name in NAMES:
                expected[name] += range(positions[name], committed)
                positions[name] = max(positions[name], committed)
        else:
            name, to = action
            committed, starts = starts.rewound(name, committed, to, f"r{number}")
            positions[name] = min(positions[name], to)
            assert starts.carried_out[name] == f"r{number}"
        # Whatever crashes, it is read again.
        starts = msgspec.json.decode(msgspec.json.encode(starts), type=Starts)
        assert ran == expected
        assert committed == min(positions.values()) or committed <= starts.end
        assert {name: max(committed, starts.start(name)) for name in NAMES} == positions
        assert starts.epoch == "epoch"


def test_a_refused_rewind_is_noted_and_moves_nothing() -> None:
    assert Starts().rewound("a", 7, None, "r") == (7, Starts(carried_out={"a": "r"}))


@pytest.mark.parametrize(("request_id", "number"), [("7-ab", 7), ("ab", 0), ("", 0), ("x-1", 0), ("²-1", 0)])
def test_a_rewind_has_a_number(request_id: str, number: int) -> None:
    assert number_of(request_id) == number


class Deployment:
    """Two partitions of a pipeline that `repartition` divides: what the second part counts, since its last reset."""

    def __init__(self) -> None:
        self.logs: list[list[Part | None]] = [[], []]
        self.committed = [0, 0]
        self.starts = [Starts("e"), Starts("e")]
        self.newest: tuple[str, dict[int, int]] = ("", {})
        self.rewinds = 0
        self.counts: list[Counter[tuple[int, int]]] = [Counter(), Counter()]
        self.total: Counter[tuple[int, int]] = Counter()

    def positions(self) -> dict[int, int]:
        return {each: max(self.committed[each], self.starts[each].start("a")) for each in (0, 1)}

    def is_pending(self, partition: int) -> bool:
        return self.starts[partition].number("a") < self.rewinds

    def ask(self, back: int, only: int | None) -> None:
        if any(self.is_pending(each) for each in (0, 1)):
            return
        self.rewinds += 1
        to = {each: at if each == only else max(0, at - back) for each, at in self.positions().items()}
        self.newest = (f"{self.rewinds}-x", to)

    def carry_out(self, partition: int) -> None:
        if self.is_pending(partition):
            request, to = self.newest
            starts = self.starts[partition].cut("a", self.committed[partition], request, to, divided=True)
            self.committed[partition], starts = starts.rewound("a", self.committed[partition], to[partition], request)
            self.starts[partition] = msgspec.json.decode(msgspec.json.encode(starts), type=Starts)
            self.counts[partition].clear()

    def run(self, partition: int, count: int) -> None:
        for _ in range(count):
            offset = self.committed[partition]
            if offset == len(self.logs[partition]):
                return
            part = self.logs[partition][offset]
            try:
                running = Gate(self.starts[partition], set).admitted((PIPELINE,), offset, part)
            except Ahead:
                self.carry_out(partition)
                continue
            self.committed[partition] += 1
            if running and part is None:
                generation = self.starts[partition].number("a")
                target = (partition + offset) % 2
                self.logs[target].append(Part("a", 1, "", generation, partition, offset))
            elif running and part is not None:
                self.counts[partition][part.partition, part.offset] += 1
                self.total[part.partition, part.offset] += 1


PIPELINE = pipeline(name="a")
moves = st.one_of(
    st.tuples(st.just("event"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("run"), st.integers(0, 1), st.integers(1, 4)),
    st.tuples(st.just("ask"), st.sampled_from([None, 0, 1]), st.integers(0, 6)),
    st.tuples(st.just("carry out"), st.integers(0, 1), st.just(0)),
)


BEFORE_ITS_OWN_REWIND: list[tuple[str, Any, int]] = [
    ("event", 0, 0), ("event", 0, 0), ("run", 0, 4), ("run", 1, 4),
    ("ask", None, 6), ("carry out", 0, 0), ("run", 0, 4), ("run", 1, 4),
]  # fmt: skip
"""A partition gets an event that another one has made again, and has not carried out the rewind itself."""


@given(st.lists(moves, max_size=60))
@example(BEFORE_ITS_OWN_REWIND)
def test_a_rewind_gives_the_parts_behind_each_event_again_once(given: list[tuple[str, Any, int]]) -> None:
    made = Deployment()
    covered: set[tuple[int, int]] = set()
    for name, which, number in given:
        if name == "event":
            made.logs[which].append(None)
        elif name == "run":
            made.run(which, number)
        elif name == "ask":
            made.ask(number, which)
        else:
            made.carry_out(which)
        to = made.newest[1]
        covered |= {(each, at) for each in to for at in range(to[each], len(made.logs[each]))}
    for _ in range(200):
        for each in (0, 1):
            made.carry_out(each)
            made.run(each, 10)
    to = made.newest[1] or {0: 0, 1: 0}
    events = [(each, at) for each in (0, 1) for at, part in enumerate(made.logs[each]) if part is None]
    counts = made.counts[0] + made.counts[1]
    for event in events:
        assert made.total[event] >= 1, "lost"
        assert counts[event] == 1 if event[1] >= to[event[0]] else counts[event] <= 1
        if event not in covered:
            assert made.total[event] == 1, "twice"
