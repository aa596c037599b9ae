"""Dead letters as JSON."""

import json
from typing import Any

import msgspec

from services.process_api.dead_letters.decisions import Decision, Status
from services.process_api.dead_letters.letter import Letter
from services.process_api.dead_letters.views import summary, whole
from tests.unit.services.process_api.dead_letters.lettering import bad_line, letter, reject
from tests.unit.services.process_api.making import event


def shown(found: Letter, decision: Decision | None = None) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(msgspec.json.encode(whole(found, decision)))
    return written


def test_a_summary_says_what_went_wrong_and_where() -> None:
    found = summary(letter(reject(7, replay_of="0-1"), offset=2), None)
    assert found == {
        "id": "0-2",
        "time": "2023-11-14T22:13:20.000Z",
        "status": "open",
        "stage": "pipeline",
        "source": "orders",
        "pipeline": "orders@3f2a9c01",
        "error": "steps.0.validate: found no total",
        "attempts": 1,
        "event_id": "orders:7",
        "origin": "trelay.ingest/0/7",
        "content": "event",
        "bytes": len(reject(7).value),
        "replay_of": "0-1",
    }


def test_a_decision_says_who_and_when() -> None:
    decision = Decision(Status.REPLAYED, "op", "ann", 1_700_000_000_000, "e", to="pipeline", edited=True)
    found = summary(letter(), decision)
    assert found["status"] == "replayed"
    assert found["decision"] == {
        "by": "ann",
        "at": "2023-11-14T22:13:20.000Z",
        "operation": "op",
        "to": "pipeline",
        "edited": True,
    }


def test_an_event_is_shown_as_json_with_all_digits() -> None:
    found = letter(reject(value=event(text='{"n":9007199254740993,"x":1.10}')))
    assert b'"n":9007199254740993,"x":1.10' in msgspec.json.encode(whole(found, None))
    assert shown(found)["json"]["data"]["n"] == 9007199254740993
    assert (shown(found)["key"], shown(found)["read"]) == ("C-1", "2023-11-14T22:13:20.000Z")
    assert shown(found)["replayable"]


def test_other_input_is_shown_as_text_or_in_base64() -> None:
    assert shown(letter(bad_line()))["base64"] == "YTtiO/8="
    text = letter(reject(value=b"a;b", truncated=100_000, provenance=None, key=None))
    assert (shown(text)["text"], shown(text)["bytes"], shown(text)["truncated"]) == ("a;b", 100_000, True)
    assert shown(text)["not_replayable_because"].startswith("only the beginning")
    assert shown(text)["key"] is None


def test_input_comes_with_the_event_to_begin_with() -> None:
    found = shown(letter(bad_line()))
    assert found["template"] == {"specversion": "1.0", "id": "files:a.csv:1", "source": "/sources/files", "type": ""}
    assert not found["replayable"]
