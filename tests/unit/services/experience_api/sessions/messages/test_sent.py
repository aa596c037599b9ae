import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.refusals import MALFORMED, Refused
from services.experience_api.sessions.messages.sent import data_of, read_sent


def message(**members: Any) -> bytes:
    return json.dumps({"type": "trelay.message", **members}).encode()


@pytest.mark.parametrize(
    ("members", "attributes"),
    [
        ({"data": {"x": 1.5}}, {"datacontenttype": b'"application/json"', "data": b'{"x":1.5}'}),
        ({"data": None}, {"datacontenttype": b'"application/json"', "data": b"null"}),
        ({"data_base64": "AA=="}, {"data_base64": b'"AA=="'}),
    ],
    ids=range(3),
)
def test_a_message_may_have_an_id(members: dict[str, Any], attributes: dict[str, bytes]) -> None:
    assert read_sent(b" " + message(id="m-1", **members)) == ("m-1", attributes)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"id": "a"},
        {"data": 1},
        {"id": 7, "data": 1},
        {"id": "", "data": 1},
        {"id": "a" * 256, "data": 1},
        {"id": "ä", "data": 1},
        {"id": "a", "data": 1, "data_base64": "AA=="},
        {"id": "a", "data_base64": "!"},
        {"id": "a", "data_base64": "ä"},
        {"id": "a", "data_base64": 1},
        {"id": "a", "data": 1, "more": 1},
    ],
    ids=str,
)
def test_another_form_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        read_sent(message(**members))
    assert refused.value.refusal is MALFORMED


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('"\\ud800"', "surrogate"),
        ("1e999", "data: "),
        ("[" * 600 + "]" * 600, "data: "),
        ("NaN", "expected"),
    ],
)
def test_data_that_not_every_reader_accepts_is_refused_with_an_id(text: str, why: str) -> None:
    """As text without an id, it would be stored again each time that the client sends it again."""
    with pytest.raises(Refused, match=why) as refused:
        read_sent(f'{{"type": "trelay.message", "id": "m-1", "data": {text}}}'.encode())
    assert refused.value.refusal is MALFORMED


@pytest.mark.parametrize(
    "text",
    [
        '{"x": "trelay.message", "y": "\\ud800"}',
        '{"type": "other", "x": ["trelay.message", NaN]}',
        '{"type": "trelay.message"',
        '{"trelay.message": ' + "[" * 5000,
    ],
)
def test_other_json_that_names_the_type_has_no_id(text: str) -> None:
    assert read_sent(text.encode()).id is None


def test_the_fault_of_large_data_is_not_looked_for() -> None:
    data = "[" + "1," * 10_000 + "1e999]"
    with pytest.raises(Refused, match="data: found JSON that not every reader accepts"):
        read_sent(f'{{"type": "trelay.message", "id": "m-1", "data": {data}}}'.encode())


@pytest.mark.parametrize("text", ["1e999", "[" * 600 + "]" * 600, '"\\ud800"', "NaN", '{"a": -1e400}'])
def test_json_that_not_every_reader_accepts_is_text_without_an_id(text: str) -> None:
    expected = {"datacontenttype": b'"text/plain"', "data": json.dumps(text).encode()}
    assert read_sent(text.encode()) == (None, expected)


@given(st.binary() | st.text().map(str.encode) | st.sampled_from([
    b'"trelay.message"', b'{"x":"trelay.message"}', b'{"type":7,"x":"trelay.message"}', b'{"trelay.message',
    b'{"trelay.message":' + b"[" * 5000,
]))  # fmt: skip
def test_any_other_message_is_data(found: bytes) -> None:
    assert read_sent(found) == (None, data_of(found))
