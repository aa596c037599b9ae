"""Which letters hold events that a rewind runs again, compared with a model that runs them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.process_api.dead_letters.letter import Letter
from services.process_api.dead_letters.rewound import Rewound
from services.process_api.operations.requests import Asked, Rewind, encode, rewind_key, starts_key
from services.process_api.operations.starts import Starts
from services.process_api.pipeline.part import Part
from tests.unit.services.process_api.dead_letters.lettering import TOPICS, letter, reject

EPOCH = "e"


def asked(*rewinds: tuple[str, int, dict[int, int]], starts: Starts | None = None) -> Asked:
    """What the topic holds: rewinds of pipelines, and the starts of partition 0."""
    found = Asked()
    for name, number, to in rewinds:
        rewind = Rewind(f"{number}-x", EPOCH, to, "", reset_state=False, by="ann", at=1.0)
        found.take(rewind_key(name), encode(rewind))
    if starts is not None:
        found.take(starts_key(0), encode(starts))
    return found


def runs_again(found: Asked, letter: Letter, epoch: str = EPOCH) -> bool:
    return Rewound(found, TOPICS.ingest, epoch).runs_again(letter)


@given(st.lists(st.one_of(st.tuples(st.integers(0, 20)), st.integers(1, 6)), max_size=14))
def test_it_is_said_of_a_letter_whenever_its_event_runs_again(actions: list[tuple[int] | int]) -> None:
    committed, starts, letters = 0, Starts(EPOCH), list[tuple[int, Letter]]()
    rewinds = 0
    for action in [*actions, 100]:  # at last, all run that there is
        if isinstance(action, int):
            for offset in range(max(committed, starts.start("orders")), committed + action):
                rejected = reject(origin=f"{TOPICS.ingest}/0/{offset}", rewinds=starts.rewinds("orders"))
                letters.append((offset, letter(rejected)))
            committed += action
        else:
            rewinds += 1
            (to,) = action
            # A rewind leads to a place that the pipeline has passed: the request says so.
            if to < max(committed, starts.start("orders")):
                starts = starts.cut("orders", committed, f"{rewinds}-x", {0: to}, divided=False)
                committed, starts = starts.rewound("orders", committed, to, f"{rewinds}-x")
                starts = msgspec.json.decode(msgspec.json.encode(starts), type=Starts)
    found = asked(starts=starts)
    for number, (offset, each) in enumerate(letters):
        assert runs_again(found, each) == any(later == offset for later, _ in letters[number + 1 :])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, True, id="behind the place"),
        pytest.param({"origin": f"{TOPICS.ingest}/0/4"}, False, id="before the place"),
        pytest.param({"origin": f"{TOPICS.ingest}/1/9"}, False, id="another partition"),
        pytest.param({"origin": "other/0/9"}, False, id="another topic"),
        pytest.param({"origin": f"{TOPICS.ingest}/0"}, False, id="no place"),
        pytest.param({"pipeline": "other@1"}, False, id="another pipeline"),
        pytest.param({"pipeline": ""}, False, id="no pipeline"),
        pytest.param({"rewinds": f"3 {EPOCH}"}, False, id="refused after the rewind"),
        pytest.param({"rewinds": "2 other"}, False, id="a topic that was recreated"),
        pytest.param({"rewinds": ""}, False, id="of an older release"),
        pytest.param({"part": Part("orders", 1, "", 2, 0, 7).header()[1]}, True, id="a part"),
        pytest.param({"part": Part("orders", 1, "", 3, 0, 7).header()[1]}, False, id="a part, made again"),
        pytest.param({"part": Part("orders", 1, "", 2, 0, 4).header()[1]}, False, id="a part, before the place"),
        pytest.param(
            {"part": Part("orders", 1, "", 3, 0, 7).header()[1], "edited": "0-1"}, True, id="edited in a part"
        ),
    ],
)
def test_a_rewind_that_is_asked_counts(given: dict[str, Any], expected: bool) -> None:
    rejected = reject(**{"origin": f"{TOPICS.ingest}/0/7", "rewinds": f"2 {EPOCH}", **given})
    pending = asked(("orders", 3, {0: 5}))
    done = asked(("orders", 3, {0: 5}), starts=Starts(EPOCH).cut("orders", 9, "3-x", {0: 5}, divided=True))
    assert runs_again(pending, letter(rejected)) == expected
    assert runs_again(done, letter(rejected)) == expected


def test_one_that_was_refused_does_not_count() -> None:
    rejected = letter(reject(origin=f"{TOPICS.ingest}/0/7", rewinds=f"2 {EPOCH}"))
    refused = asked(("orders", 3, {0: 5}), starts=Starts(EPOCH, carried_out={"orders": "3-x"}))
    assert not runs_again(refused, rejected)
    assert not runs_again(asked(("orders", 3, {0: 5})), rejected, epoch="another")
    assert not runs_again(Asked(), rejected)
