"""From which offset each pipeline runs, compared with a model that runs each pipeline by itself."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.process_api.operations.starts import Starts
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
