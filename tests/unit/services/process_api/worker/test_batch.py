"""What one transaction will hold: every record that went in is accounted for."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.process_api.pipeline.expression.jsonata import Jsonata
from services.process_api.pipeline.selection import Selection
from services.process_api.worker.batch import Batch, Tally
from services.process_api.worker.poison import Suspects
from shared.bus.protocol import RECORD_LIMIT, TopicPartition, size_of
from shared.bus.topics import TopicsOptions
from shared.errors import Unavailable
from shared.events.dead_letter import KEPT_BYTES
from shared.events.event import TRAIL, unpack_trail
from tests.unit.services.process_api.making import batch, event, pipeline, record, selection

TOPICS = TopicsOptions()
FUNCTIONS = "tests.unit.services.process_api.pipeline.steps.functions"


def taken(*records: Any, pipelines: Any = None) -> Batch:
    made = batch(*(pipelines or [pipeline()]))
    made.take(records)
    return made


def test_an_output_is_keyed_by_its_channel_and_keeps_its_trail() -> None:
    (output,) = taken(record(event(1)), pipelines=[pipeline({"route": "'a.b'"})]).outputs
    assert output.key == b"a.b"
    assert output.headers == ((TRAIL, b"orders 1700000000000 orders:7"),)
    assert json.loads(output.value or b"")["data"] == 1


def test_only_the_trail_of_the_headers_goes_on() -> None:
    came = dataclasses.replace(record(event(1)), headers=(("a", b"1"), (TRAIL, b"orders 1 x"), ("b", b"2")))
    (output,) = taken(came).outputs
    assert output.headers == ((TRAIL, b"orders 1 x"),)


def test_a_refused_event_says_where_why_and_which() -> None:
    made = pipeline({"map": "missing"}, name="orders")
    (reject,) = taken(record(event(1), 42), pipelines=[made]).rejects
    assert (reject.id, reject.value, reject.stage) == ("orders:7", event(1), "pipeline")
    assert (reject.origin, reject.pipeline, reject.attempts) == ("trelay.ingest/0/42", made.label, 1)
    assert reject.error.startswith("steps.0.map: ")


@pytest.mark.parametrize(
    ("came", "error", "identity"),
    [
        (record(b"\xff"), "event: not UTF-8", "orders:7"),
        (record(None), "event: not a JSON object", "orders:7"),
        (record(b"x", source=None), "event: not a JSON object", "trelay.ingest/0/0"),
        (record(event(1), source="strangers"), "no pipeline takes the source 'strangers'", "orders:7"),
        (
            record(event(1, source="/sources/strangers"), source=None),
            "no pipeline takes the source 'strangers'",
            "orders:7",
        ),
        (record(event(1, source="urn:x y"), source=None), "no pipeline takes the source 'urn:x_y'", "orders:7"),
    ],
)
def test_nothing_is_dropped_in_silence(came: Any, error: str, identity: str) -> None:
    made = Batch(Selection([(["orders"], pipeline())]), Suspects())
    made.take([came])
    assert made.outputs == []
    (reject,) = made.rejects
    assert reject.error.startswith(error)
    assert (reject.id, reject.value) == (identity, came.value or b"")


def test_an_event_that_somebody_else_wrote_gets_a_trail() -> None:
    (output,) = taken(record(event(1, id="x 1"), source=None)).outputs
    trail = unpack_trail(dict(output.headers)[TRAIL])
    assert trail == ("orders", 1_700_000_000_001, "x 1")


def test_every_pipeline_that_takes_an_event_has_its_outputs_and_its_dead_letters() -> None:
    pipelines = [
        pipeline(name="a", channel="a"),
        pipeline({"map": "missing"}, name="b"),
        pipeline(name="c", channel="c"),
    ]
    made = taken(record(event(1)), record(event(2)), pipelines=pipelines)
    assert [output.key for output in made.outputs] == [b"a", b"c", b"a", b"c"]
    assert [reject.pipeline for reject in made.rejects] == [pipelines[1].label] * 2
    assert made.tallies == {"a": Tally(2, 2, 0), "b": Tally(2, 0, 2), "c": Tally(2, 2, 0)}
    assert made.unclaimed == 0


def test_the_first_and_the_last_record_are_known() -> None:
    made = taken(record(event(1), 10), record(b"x", 12), record(event(1), 15))
    assert (made.first, made.last, made.count) == (10, 15, 3)
    values = [*(output.value or b"" for output in made.outputs), *(reject.value for reject in made.rejects)]
    assert made.size == sum(map(len, values))


def test_the_transaction_holds_everything_and_the_place_to_go_on() -> None:
    made = taken(record(event(1), 10), record(b"x", 11))
    position = TopicPartition(TOPICS.ingest, 0)
    transaction = made.transaction(TOPICS, "g", position, 12)
    assert {topic: len(records) for topic, records in transaction.records.items()} == {
        TOPICS.publish: 1,
        TOPICS.dead_letter: 1,
    }
    assert (transaction.group, transaction.offsets) == ("g", {position: 12})
    empty = taken(record(event(1)), pipelines=[pipeline({"filter": "false"})])
    assert empty.transaction(TOPICS, "g", position, 1).records == {}


def test_what_is_unavailable_stops_before_the_record_and_keeps_what_was_before() -> None:
    pipelines = [pipeline(name="a"), pipeline({"filter": "wait"}, {"python": f"{FUNCTIONS}:wait"}, name="b")]
    made = batch(*pipelines)
    with pytest.raises(Unavailable):
        made.take([record(event({}), 0), record(event({"wait": True}), 1), record(event({}), 2)])
    assert (made.count, made.last, len(made.outputs)) == (1, 0, 1)
    assert made.tallies == {"a": Tally(1, 1, 0), "b": Tally(1, 0, 0)}


def test_only_the_first_event_is_timed() -> None:
    watched: list[str] = []

    def watch(made: Any) -> Any:
        watched.append(made.name)
        return lambda _place: None

    made = batch(pipeline(name="a"), pipeline(name="b"))
    made.take([record(event(1)), record(event(2))], watch)
    assert watched == ["a", "b"]


class TestTooLarge:
    def test_an_event_that_became_too_large_goes_to_the_dead_letter_as_it_came(self) -> None:
        text = "x" * (RECORD_LIMIT // 2)
        doubled = pipeline({"set": {"data.b": "=a", "data.c": "=a"}})
        (reject,) = taken(record(event({"a": text})), pipelines=[doubled]).rejects
        assert f"the limit is {RECORD_LIMIT}" in reject.error
        assert reject.value == event({"a": text})

    def test_one_that_does_not_even_fit_there_is_cut(self) -> None:
        value = b"x" * (RECORD_LIMIT - 100)
        (reject,) = taken(record(value)).rejects
        assert (reject.value, size_of(reject.record()) < RECORD_LIMIT) == (value[:KEPT_BYTES], True)
        assert f"(of its {len(value)} bytes the first {KEPT_BYTES} are kept)" in reject.error

    def test_an_id_of_megabytes_does_not_make_the_dead_letter_too_large(self) -> None:
        value = event({"a": 1}, id="i" * (RECORD_LIMIT - 1000))
        (reject,) = taken(record(value, source=None), pipelines=[pipeline({"map": "missing"})]).rejects
        assert reject.id == "trelay.ingest/0/0"
        assert size_of(reject.record()) < RECORD_LIMIT

    def test_one_that_the_bus_refused_is_not_run_again(self) -> None:
        suspects = Suspects()
        suspects.blame(5, 5, "too large for the bus")
        made = Batch(selection(pipeline()), suspects)
        made.take([record(event(1), 4), record(event(1), 5)])
        assert len(made.outputs) == 1
        assert [(reject.error, reject.id, reject.value) for reject in made.rejects] == [
            ("too large for the bus", "orders:7", event(1))
        ]
        suspects.blame(5, 5, "again")
        made = Batch(selection(pipeline()), suspects)
        made.take([record(event("y" * KEPT_BYTES), 5)])
        assert len(made.rejects[0].value) == KEPT_BYTES


_written = ["orders 1 a", "orders", " 1 a", "strangers 1 b", "orders ² b"]
_trails = st.none() | st.binary(max_size=40) | st.sampled_from([trail.encode() for trail in _written])


@given(st.lists(st.tuples(st.binary(max_size=60) | st.just(event({"a": 1})) | st.none(), _trails), max_size=5))
def test_any_records_are_accounted_for(came: list[tuple[bytes | None, bytes | None]]) -> None:
    records = [
        dataclasses.replace(record(value, offset), headers=() if trail is None else ((TRAIL, trail),))
        for offset, (value, trail) in enumerate(came)
    ]
    made = Batch(Selection([(["orders"], pipeline({"set": {"data.b": 2}}))]), Suspects())
    made.take(records)
    assert len(made.outputs) + len(made.rejects) == made.count == len(records)
    assert made.tallies["orders"].taken + made.unclaimed == len(records)
    made.transaction(TOPICS, "g", TopicPartition(TOPICS.ingest, 0), len(records))


def test_after_an_expression_that_ran_away_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Jsonata.__init__, "__defaults__", (20,))  # milliseconds
    made = batch(pipeline({"map": "($f := function($x){ $f($x + 1) }; n > 4 ? $f(n) : n)"}))
    records = [record(event({"n": number}), number) for number in range(10)]
    assert made.take(records) == 6
    assert made.take(records[6:]) == 1
    assert (made.count, made.last, len(made.outputs), len(made.rejects)) == (7, 6, 5, 2)


def test_dead_letters_count_towards_the_size() -> None:
    made = batch(pipeline({"map": "missing"}))
    value = event({"text": "x" * 1000})
    made.take([record(value, 0), record(value, 1)])
    assert made.size == 2 * len(value)
