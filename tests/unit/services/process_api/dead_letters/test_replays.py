"""What the replay of a letter writes."""

import json
from typing import Any

import pytest

from services.process_api.dead_letters.letter import Letter
from services.process_api.dead_letters.replays import Edit, Replays, problem
from services.process_api.dead_letters.rewound import Rewound
from services.process_api.operations.requests import Asked, Rewind, encode, rewind_key
from services.process_api.pipeline.part import Part, part_in
from shared.bus.protocol import RECORD_LIMIT, Outgoing
from shared.errors import Malformed
from shared.events.dead_letter import Content, Replay, replay_in
from shared.events.event import Channel
from shared.events.headers import CONTENT_TYPE, PROVENANCE
from tests.unit.services.process_api.dead_letters.lettering import TOPICS, bad_line, letter, reject
from tests.unit.services.process_api.making import event, without_data

FIXED = Channel("orders.fixed")


def replayed(
    found: Letter,
    channel: Channel | None = None,
    *,
    takers: tuple[str, ...] = ("orders",),
    event: bytes | None = None,
    data: bytes | None = None,
    pipeline: str = "",
    parts: int = 2,
) -> tuple[str, Outgoing]:
    edit = None if event is data is None else Edit(event, data)
    return Replays(TOPICS, lambda _source: dict.fromkeys(takers, parts)).record(found, channel, edit, pipeline)


def test_a_replay_to_the_pipeline_is_the_event_as_it_came() -> None:
    found = letter(reject(7, attempts=2), offset=4)
    topic, record = replayed(found)
    assert (topic, record.key, record.value) == (TOPICS.ingest, b"C-1", found.value)
    assert list(record.headers[:2]) == [CONTENT_TYPE, (PROVENANCE, b"orders 1700000000000 orders:7")]
    assert replay_in(record.headers) == Replay("0-4", 2, "orders@3f2a9c01", origin=(0, 7))


def test_an_event_that_a_rewind_runs_again_is_replayed_nowhere_but_elsewhere() -> None:
    asked = Asked()
    rewind = Rewind("1-x", "e", {0: 5}, "", reset_state=False, by="ann", at=1.0)
    asked.take(rewind_key("orders"), encode(rewind))
    rewound = Rewound(asked, TOPICS.ingest, "e")
    replays = Replays(TOPICS, lambda _source: {"orders": 1, "renamed": 1}, rewound)
    found = letter(reject(7, rewinds="0 e"))
    with pytest.raises(Malformed, match="a rewind runs its event through the pipeline 'orders' again"):
        replays.record(found, None)
    for channel, edit, pipeline in ((FIXED, None, ""), (None, Edit(data=b"{}"), ""), (None, None, "renamed")):
        assert replays.record(found, channel, edit, pipeline)
    assert replays.record(letter(reject(4, rewinds="0 e")), None)


def test_an_event_that_a_later_part_refused_goes_on_there() -> None:
    part = Part("orders", 1, "eu").header()
    _, record = replayed(letter(reject(7, part=part[1])), data=b"{}")
    assert [name for name, _ in record.headers] == ["content-type", "trelay-replay", "trelay-edited", "trelay-part"]
    assert part_in(record.headers) == Part("orders", 1, "eu")


def test_a_replay_to_another_pipeline_is_one_of_that_alone() -> None:
    part = Part("orders", 1, "eu", 2, 3, 4)
    for found in (letter(reject(7, part=part.header()[1])), letter(reject(7, part=part.header()[1], pipeline=""))):
        _, record = replayed(found, takers=("orders", "renamed"), pipeline="renamed")
        assert replay_in(record.headers) == Replay("0-0", 1, "renamed", origin=(0, 7))
        assert part_in(record.headers) == part._replace(pipeline="renamed")
    with pytest.raises(Malformed, match=r"the pipeline 'renamed' does not take the source 'orders'$"):
        replayed(letter(), takers=("orders",), pipeline="renamed")


def test_an_event_whose_part_is_gone_is_not_replayed_into_the_dead_letter_again() -> None:
    for refused_by in ("orders", ""):
        found = letter(reject(7, part=Part("orders", 1, "eu").header()[1], pipeline=refused_by))
        with pytest.raises(Malformed, match=r"the pipeline 'orders' has no part 2 any more, .*; use a channel, or add"):
            replayed(found, parts=1)
        assert replayed(found, FIXED, parts=1)[0] == TOPICS.publish


def test_the_header_of_a_part_that_cannot_be_read_stays_as_it_is() -> None:
    _, record = replayed(letter(reject(7, part=b"x")), takers=("renamed",), pipeline="renamed")
    assert dict(record.headers)["trelay-part"] == b"x"
    _, record = replayed(letter(reject(7, part=b"1 0 0 0 gone eu", pipeline="")))
    assert dict(record.headers)["trelay-part"] == b"1 0 0 0 gone eu"


def test_an_edited_event_names_its_letter_in_this_replay_and_the_next_ones() -> None:
    _, record = replayed(letter(reject(7), offset=4), data=b"{}")
    assert replay_in(record.headers) == Replay("0-4", 1, "orders@3f2a9c01", "0-4")
    again = letter(reject(7, edited="0-4"), offset=5)
    assert replay_in(replayed(again)[1].headers) == Replay("0-5", 1, "orders@3f2a9c01", "0-4", (0, 7))
    assert replay_in(replayed(again, data=b"{}")[1].headers) == Replay("0-5", 1, "orders@3f2a9c01", "0-5")


def test_an_event_of_another_program_stays_one_without_provenance() -> None:
    _, record = replayed(letter(reject(provenance=None, key=None)))
    assert [name for name, _ in record.headers] == ["content-type", "trelay-replay", "trelay-replay-origin"]
    assert record.key == b"C-1"  # its subject: older versions did not keep the key


def test_what_is_no_event_is_replayed_with_the_key_that_it_had() -> None:
    assert replayed(letter(reject(value=b"{", provenance=None, pipeline="")))[1].key == b"C-1"
    assert replayed(letter(reject(value=b"{", provenance=None, pipeline="", key=None)))[1].key == b""


def test_a_replay_to_a_channel_is_the_event_with_that_channel() -> None:
    topic, record = replayed(letter(reject(7)), FIXED)
    assert (topic, record.key) == (TOPICS.publish, b"orders.fixed")
    assert json.loads(record.value or b"") == {**json.loads(reject(7).value), "channel": "orders.fixed"}
    assert replay_in(record.headers) is None
    assert dict(record.headers)[PROVENANCE] == b"orders 1700000000000 orders:7"
    foreign = replayed(letter(reject(7, provenance=None)), FIXED)[1]
    assert dict(foreign.headers)[PROVENANCE] == b"orders 1700000000000 orders:7"


@pytest.mark.parametrize(
    ("found", "channel", "takers", "text"),
    [
        (letter(bad_line()), None, ("orders",), "no event could be made; replay it with an edited event"),
        (letter(bad_line()), FIXED, ("orders",), "no event could be made; replay it with an edited event"),
        (letter(reject(truncated=9)), FIXED, ("orders",), "only the beginning"),
        (letter(reject(content=Content.RESULT)), None, ("orders",), "a step of the pipeline made this event"),
        (letter(), None, ("other",), "the pipeline 'orders' does not take the source 'orders' any more"),
        (letter(reject(pipeline="")), None, (), "no pipeline takes the source 'orders'"),
        (letter(reject(value=event("x" * 1_100_000))), FIXED, (), "the limit is"),
        (letter(reject(value=event("x" * RECORD_LIMIT))), None, ("orders",), "the limit is"),
        (letter(reject(value=b"{", provenance=None)), FIXED, (), "not a JSON object"),
    ],
    ids=["input", "input-channel", "truncated", "result", "gone", "unclaimed", "frame", "record", "no-event"],
)
def test_what_cannot_be_replayed_says_why(
    found: Letter, channel: Channel | None, takers: tuple[str, ...], text: str
) -> None:
    with pytest.raises(Malformed, match=text):
        replayed(found, channel, takers=takers)


def test_a_letter_of_no_pipeline_goes_to_all_that_take_its_source() -> None:
    _, record = replayed(letter(reject(pipeline="")), takers=("one", "two"))
    assert replay_in(record.headers) == Replay("0-0", 1, "", origin=(0, 7))


def test_the_origin_of_what_was_no_record_of_the_ingest_topic_is_not_named() -> None:
    _, record = replayed(letter(reject(origin="orders:/in/a.csv:3")))
    assert replay_in(record.headers) == Replay("0-0", 1, "orders@3f2a9c01")


def test_a_result_of_a_step_can_go_to_a_channel() -> None:
    assert replayed(letter(reject(content=Content.RESULT, provenance=None, key=None)), FIXED)[0] == TOPICS.publish


def edited(given: dict[str, Any]) -> bytes:
    return json.dumps(given).encode()


def test_edited_data_keeps_the_attributes() -> None:
    _, record = replayed(letter(reject(7)), data=b'{"n":9007199254740993}')
    before = json.loads(reject(7).value)
    assert json.loads(record.value or b"") == {**before, "data": {"n": 9007199254740993}}
    # It is parsed as a whole, because an edit may put `data` anywhere.
    assert [name for name, _ in record.headers] == ["content-type", "trelay-replay", "trelay-edited"]


def test_edited_data_in_the_place_of_bytes_is_json() -> None:
    value = without_data(data_base64="AAE=", datacontenttype="application/octet-stream")
    made = json.loads(replayed(letter(reject(value=value)), data=b'{"fixed":1}')[1].value or b"")
    assert (made["data"], made["datacontenttype"]) == ({"fixed": 1}, "application/json")
    assert "data_base64" not in made


def test_an_edited_event_follows_its_subject_where_the_record_did() -> None:
    other = edited({**json.loads(reject(7).value), "subject": "C-9"})
    assert replayed(letter(reject(7)), event=other)[1].key == b"C-9"
    assert replayed(letter(reject(7, key=b"by another rule")), event=other)[1].key == b"by another rule"


def test_input_is_replayed_with_an_event_of_its_id_and_source() -> None:
    given = {"specversion": "1.0", "id": "files:a.csv:1", "source": "/sources/files", "type": "t", "data": [1]}
    topic, record = replayed(letter(bad_line()), takers=("files",), event=edited(given))
    assert (topic, record.key, json.loads(record.value or b"")) == (TOPICS.ingest, b"", given)
    _, published = replayed(letter(bad_line()), FIXED, event=edited(given))
    assert json.loads(published.value or b"")["channel"] == "orders.fixed"


@pytest.mark.parametrize(
    ("found", "edit", "text"),
    [
        (
            letter(),
            {"event": edited({**json.loads(reject().value), "id": "x"})},
            "'id': found 'x'; expected 'orders:7'",
        ),
        (letter(), {"event": edited({**json.loads(reject().value), "source": "x"})}, "'source': found 'x'"),
        (letter(), {"event": b"[]"}, "not a JSON object"),
        (letter(), {"data": b'1,"id":"x"'}, "'id': found 'x'"),
        (letter(bad_line()), {"data": b"{}"}, "holds no event whose data"),
        (letter(reject(value=b"{")), {"data": b"{}"}, "holds no event whose data"),
    ],
    ids=["id", "source", "no-event", "injected", "input", "malformed"],
)
def test_an_edit_stays_the_same_event(found: Letter, edit: dict[str, bytes], text: str) -> None:
    with pytest.raises(Malformed, match=text):
        replayed(found, event=edit.get("event"), data=edit.get("data"))


def test_the_source_of_a_malformed_event_need_not_be_known() -> None:
    given = {"specversion": "1.0", "id": "orders:7", "source": "/sources/orders", "type": "t"}
    malformed = letter(reject(value=b"{", provenance=None, pipeline=""))
    assert replayed(malformed, event=edited(given))[1].value == edited(given)


def test_a_problem_is_named_before_a_replay_is_tried() -> None:
    assert problem(letter()) is None
    assert "edited event" in (problem(letter(bad_line())) or "")
