"""The content of one transaction: every record that is added is accounted for."""

import dataclasses
import json
from datetime import datetime
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from hypothesis import given
from hypothesis import strategies as st

from services.process_api.pipeline.selection import Selection
from services.process_api.worker.batch import Batch
from services.process_api.worker.outputs import Tally
from services.process_api.worker.poison import PoisonTracker
from shared.bus.protocol import RECORD_LIMIT, TopicPartition, size_of
from shared.bus.topics import TopicsOptions
from shared.errors import Unavailable
from shared.events.dead_letter import KEPT_BYTES, Replay
from shared.events.headers import CONTENT_TYPE, PROVENANCE, headers_of, unpack_provenance
from shared.expression import jsonata
from tests.unit.services.process_api.making import batch, event, pipeline, record, selection

TOPICS = TopicsOptions()
FUNCTIONS = "tests.unit.services.process_api.pipeline.steps.functions"


def added(*records: Any, pipelines: Any = None) -> Batch:
    made = batch(*(pipelines or [pipeline()]))
    made.add(records)
    return made


def test_an_output_is_keyed_by_its_channel_and_keeps_its_provenance() -> None:
    (output,) = added(record(event(1)), pipelines=[pipeline({"route": "'a.b'"})]).outputs
    assert output.key == b"a.b"
    assert output.headers == headers_of(b"orders 1700000000000 orders:7")
    assert json.loads(output.value or b"")["data"] == 1


@pytest.mark.parametrize("steps", [[], [{"set": {"subject": "C-2"}}], [{"map": "n"}]], ids=["none", "set", "map"])
def test_the_official_sdk_reads_an_output(steps: list[Any]) -> None:
    came = record(event({"n": 7}, time="2026-01-02T03:04:05.678Z"))
    (output,) = added(came, pipelines=[pipeline(*steps)]).outputs
    found = from_kafka_event(KafkaMessage(dict(output.headers), output.key, output.value or b""))
    written = json.loads(output.value or b"")
    assert found.get_data() == written.pop("data")
    time = datetime.fromisoformat(written.pop("time"))
    assert found.get_attributes() == {**written, "time": time, "partitionkey": "orders"}


@pytest.mark.parametrize(
    "headers",
    [
        (("a", b"1"), (PROVENANCE, b"orders 1 x"), ("b", b"2")),
        (("a", b"1"), (PROVENANCE, b"orders 1 x")),
        ((PROVENANCE, b"orders 1 x"), CONTENT_TYPE),
        ((PROVENANCE, b"orders 1 x"),),
        (("content-type", b"application/cloudevents+json"), (PROVENANCE, b"orders 1 x")),
        (("trail", b"orders 1 x"),),
    ],
    ids=["others around it", "another before it", "reversed", "alone", "another content type", "former name"],
)
def test_an_output_has_the_standard_headers_for_any_headers_of_its_record(
    headers: tuple[tuple[str, bytes], ...],
) -> None:
    (output,) = added(dataclasses.replace(record(event(1)), headers=headers)).outputs
    assert output.headers == (CONTENT_TYPE, (PROVENANCE, b"orders 1 x"))


def test_a_dead_letter_holds_the_event_its_origin_and_the_reason() -> None:
    made = pipeline({"map": "missing"}, name="orders")
    (reject,) = added(record(event(1), 42), pipelines=[made]).rejects
    assert (reject.id, reject.value, reject.stage) == ("orders:7", event(1), "pipeline")
    assert (reject.origin, reject.pipeline, reject.attempts) == ("trelay.ingest/0/42", made.label, 1)
    assert reject.error.startswith("steps.0.map: ")


@pytest.mark.parametrize(
    ("came", "error", "identity"),
    [
        (record(b"\xff"), "event: not UTF-8", "orders:7"),
        (record(None), "event: not a JSON object", "orders:7"),
        (record(b"x", source=None), "event: not a JSON object", "trelay.ingest/0/0"),
        (record(event(1), source="unknown"), "no pipeline takes the source 'unknown'", "orders:7"),
        (
            record(event(1, source="/sources/unknown"), source=None),
            "no pipeline takes the source 'unknown'",
            "orders:7",
        ),
        (record(event(1, source="urn:x y"), source=None), "no pipeline takes the source 'urn:x_y'", "orders:7"),
    ],
)
def test_a_record_that_no_pipeline_can_take_is_dead_lettered(came: Any, error: str, identity: str) -> None:
    made = Batch(Selection([(["orders"], pipeline())]), PoisonTracker())
    made.add([came])
    assert made.outputs == []
    (reject,) = made.rejects
    assert reject.error.startswith(error)
    assert (reject.id, reject.value) == (identity, came.value or b"")


def test_an_event_that_another_program_wrote_gets_the_standard_headers() -> None:
    (output,) = added(record(event(1, id="x 1"), source=None)).outputs
    assert output.headers[0] == CONTENT_TYPE
    assert unpack_provenance(dict(output.headers)[PROVENANCE]) == ("orders", 1_700_000_000_001, "x 1")


def test_each_pipeline_that_takes_an_event_has_outputs_and_dead_letters_of_its_own() -> None:
    pipelines = [
        pipeline(name="a", channel="a"),
        pipeline({"map": "missing"}, name="b"),
        pipeline(name="c", channel="c"),
    ]
    made = added(record(event(1)), record(event(2)), pipelines=pipelines)
    assert [output.key for output in made.outputs] == [b"a", b"c", b"a", b"c"]
    assert [reject.pipeline for reject in made.rejects] == [pipelines[1].label] * 2
    assert made.tallies == {"a": Tally(2, 2, 0), "b": Tally(2, 0, 2), "c": Tally(2, 2, 0)}
    assert made.unclaimed == 0


def test_the_first_and_the_last_record_are_known() -> None:
    made = added(record(event(1), 10), record(b"x", 12), record(event(1), 15))
    assert (made.first, made.last, made.count) == (10, 15, 3)
    values = [*(output.value or b"" for output in made.outputs), *(reject.value for reject in made.rejects)]
    assert made.size == sum(map(len, values))


def test_the_transaction_holds_outputs_dead_letters_and_the_next_offset() -> None:
    made = added(record(event(1), 10), record(b"x", 11))
    position = TopicPartition(TOPICS.ingest, 0)
    transaction = made.transaction(TOPICS, "g", position, 12)
    assert {topic: len(records) for topic, records in transaction.records.items()} == {
        TOPICS.publish: 1,
        TOPICS.dead_letter: 1,
    }
    assert (transaction.group, transaction.offsets) == ("g", {position: 12})
    empty = added(record(event(1)), pipelines=[pipeline({"filter": "false"})])
    assert empty.transaction(TOPICS, "g", position, 1).records == {}


def test_a_step_that_waits_stops_before_its_record_and_keeps_those_before() -> None:
    pipelines = [pipeline(name="a"), pipeline({"filter": "wait"}, {"python": f"{FUNCTIONS}:wait"}, name="b")]
    made = batch(*pipelines)
    with pytest.raises(Unavailable):
        made.add([record(event({}), 0), record(event({"wait": True}), 1), record(event({}), 2)])
    assert (made.count, made.last, len(made.outputs)) == (1, 0, 1)
    assert made.tallies == {"a": Tally(1, 1, 0), "b": Tally(1, 0, 0)}


def test_only_the_first_event_is_timed() -> None:
    timed: list[str] = []

    def step_timer(made: Any) -> Any:
        timed.append(made.name)
        return lambda _place: None

    made = batch(pipeline(name="a"), pipeline(name="b"))
    made.add([record(event(1)), record(event(2))], step_timer)
    assert timed == ["a", "b"]


class TestTooLarge:
    def test_an_event_that_becomes_too_large_is_dead_lettered_unaltered(self) -> None:
        text = "x" * (RECORD_LIMIT // 2)
        doubled = pipeline({"set": {"data.b": "=a", "data.c": "=a"}})
        (reject,) = added(record(event({"a": text})), pipelines=[doubled]).rejects
        assert f"the limit is {RECORD_LIMIT}" in reject.error
        assert reject.value == event({"a": text})

    def test_an_event_that_is_too_large_with_its_headers_is_dead_lettered(self) -> None:
        value = event({"a": "x" * (RECORD_LIMIT - 30_000)})
        (reject,) = added(record(value, identity="i" * 40_000)).rejects
        assert len(value) < RECORD_LIMIT
        assert reject.error.startswith("the event would have ")
        assert f"bytes, the limit is {RECORD_LIMIT}" in reject.error

    def test_an_event_above_the_limit_of_subscribers_is_dead_lettered(self) -> None:
        one = pipeline({"drop": ["data.b"]})
        made = Batch(Selection([(["orders"], one)]), PoisonTracker(), event_limit=2000)
        made.add([record(event({"a": "x" * 1000, "b": "x" * 5000})), record(event({"a": "x" * 2000}))])
        assert len(made.outputs) == 1
        (reject,) = made.rejects
        assert reject.error.endswith("bytes, the limit is 2000 (see `bus.topics.largest_frame`)")

    def test_a_dead_letter_that_would_be_too_large_is_truncated(self) -> None:
        value = b"x" * (RECORD_LIMIT - 100)
        (reject,) = added(record(value)).rejects
        assert (reject.value, size_of(reject.record()) < RECORD_LIMIT) == (value[:KEPT_BYTES], True)
        assert f"(truncated: the first {KEPT_BYTES} of {len(value)} bytes)" in reject.error
        assert (reject.truncated, reject.key) == (len(value), b"C-1")

    def test_a_key_of_megabytes_does_not_make_the_dead_letter_too_large(self) -> None:
        made = added(dataclasses.replace(record(b"x"), key=b"k" * (RECORD_LIMIT - 100)))
        (reject,) = made.rejects
        assert (reject.truncated, reject.key) == (1, None)
        assert size_of(reject.record()) < RECORD_LIMIT

    def test_an_id_of_megabytes_does_not_make_the_dead_letter_too_large(self) -> None:
        value = event({"a": 1}, id="i" * (RECORD_LIMIT - 1000))
        (reject,) = added(record(value, source=None), pipelines=[pipeline({"map": "missing"})]).rejects
        assert (reject.id, reject.truncated, reject.key) == ("trelay.ingest/0/0", 0, b"C-1")
        assert size_of(reject.record()) < RECORD_LIMIT

    def test_a_record_that_the_bus_refused_is_not_run_again(self) -> None:
        poison = PoisonTracker()
        poison.isolate(5, 5, "too large for the bus")
        made = Batch(selection(pipeline()), poison)
        made.add([record(event(1), 4), record(event(1), 5)])
        assert len(made.outputs) == 1
        assert [(reject.error, reject.id, reject.value) for reject in made.rejects] == [
            ("too large for the bus", "orders:7", event(1))
        ]
        poison.isolate(5, 5, "again")
        made = Batch(selection(pipeline()), poison)
        made.add([record(event("y" * KEPT_BYTES), 5)])
        assert len(made.rejects[0].value) == KEPT_BYTES


def test_a_replayed_record_runs_through_one_pipeline_and_counts_its_attempts_on() -> None:
    plain = record(event({"n": "x"}))
    replay = Replay("0-3", 2, "strict@1")
    replayed = dataclasses.replace(plain, headers=(*plain.headers, *replay.headers()))
    made = added(replayed, pipelines=[pipeline(name="other"), pipeline({"map": "$number(n)"}, name="strict")])
    (reject,) = made.rejects
    assert made.outputs == []
    assert (reject.attempts, reject.replay_of, reject.pipeline[:7]) == (3, "0-3", "strict@")
    (reject,) = added(replayed, pipelines=[pipeline(name="other")]).rejects
    assert (reject.error, reject.pipeline) == ("the pipeline 'strict' does not take the source 'orders'", "strict@1")


_written = ["orders 1 a", "orders", " 1 a", "unknown 1 b", "orders ² b"]
_provenances = st.none() | st.binary(max_size=40) | st.sampled_from([written.encode() for written in _written])


@given(st.lists(st.tuples(st.binary(max_size=60) | st.just(event({"a": 1})) | st.none(), _provenances), max_size=5))
def test_any_records_are_accounted_for(came: list[tuple[bytes | None, bytes | None]]) -> None:
    records = [
        dataclasses.replace(record(value, offset), headers=() if packed is None else headers_of(packed))
        for offset, (value, packed) in enumerate(came)
    ]
    made = Batch(Selection([(["orders"], pipeline({"set": {"data.b": 2}}))]), PoisonTracker())
    made.add(records)
    assert len(made.outputs) + len(made.rejects) == made.count == len(records)
    assert made.tallies["orders"].taken + made.unclaimed == len(records)
    made.transaction(TOPICS, "g", TopicPartition(TOPICS.ingest, 0), len(records))


def test_adding_stops_after_an_expression_that_timed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonata, "TIME_LIMIT_MS", 20)
    made = batch(pipeline({"map": "($f := function($x){ $f($x + 1) }; n > 4 ? $f(n) : n)"}))
    records = [record(event({"n": number}), number) for number in range(10)]
    assert made.add(records) == 6
    assert made.add(records[6:]) == 1
    assert (made.count, made.last, len(made.outputs), len(made.rejects)) == (7, 6, 5, 2)


def test_adding_stops_after_a_time_out_even_if_another_pipeline_rejects_the_event_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jsonata, "TIME_LIMIT_MS", 20)
    made = batch(
        pipeline({"map": "($f := function($x){ $f($x + 1) }; $f(n))"}, name="a"),
        pipeline({"map": "missing"}, name="b"),
    )
    assert made.add([record(event({"n": number}), number) for number in range(3)]) == 1
    assert len(made.rejects) == 2


def test_dead_letters_count_towards_the_size() -> None:
    made = batch(pipeline({"map": "missing"}))
    value = event({"text": "x" * 1000})
    made.add([record(value, 0), record(value, 1)])
    assert made.size == 2 * len(value)


def test_what_a_pipeline_with_a_shadow_makes_is_noted() -> None:
    plain, shadowed = pipeline(name="a"), pipeline(name="b")
    shadowed.shadowed = True
    made = batch(plain, shadowed)
    made.add([record(event({"n": 1}), 5)])
    (noted,) = made.shadowed
    assert (noted.pipeline, noted.record.offset) == ("b", 5)
