"""The rule for attributes: nothing passes that an official SDK refuses."""

import json
from typing import Any

import pytest
from cloudevents.core.exceptions import BaseCloudEventException
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from shared.errors import Malformed
from shared.events.attributes import check_attribute
from tests.unit.shared.events.attribute_cases import CASES, event
from tests.unit.shared.events.record_javascript_sdk import RECORDED

STRICTER: dict[str, list[Any]] = {
    "time": ["2026-01-31t12:00:00z", "2026-01-31 12:00:00Z", "2026-01-31T12:00:00+0200", "0001-01-01T00:00:00+10:00"],
    "dataschema": ["http://x:port/", "http://[v1.a]/"],
    "source": ['/"x"'],
    "ext": [2**31, -(2**31) - 1, 2**53, None, [], {}, 1e3],
    "datacontentencoding": ["x"],
    "x" * 65: ["x"],
}
"""What both SDKs accept and the rule does not: not RFC 3339, not RFC 3986, or not a type of CloudEvents."""


def passes(name: str, value: Any) -> bool:
    try:
        check_attribute(name, json.dumps(value).encode())
    except Malformed:
        return False
    return True


def accepted_in_python(name: str, value: Any) -> bool:
    try:
        JSONFormat().read(CloudEvent, json.dumps(event(name, value)))
    except (BaseCloudEventException, ValueError, TypeError, AttributeError):
        return False
    return True


def test_the_sdk_for_javascript_was_asked_about_every_case() -> None:
    recorded = [[name, value] for name, value, _ in json.loads(RECORDED.read_text())]
    assert recorded == json.loads(json.dumps(CASES)), "run python -m tests.unit.shared.events.record_javascript_sdk"


def test_what_passes_is_accepted_by_both_sdks_and_what_they_accept_passes() -> None:
    verdicts = json.loads(RECORDED.read_text())
    both = {json.dumps([n, v]): good and accepted_in_python(n, v) for n, v, good in verdicts}
    wrong = [(n, v) for n, v in CASES if passes(n, v) and not both[json.dumps([n, v])]]
    assert not wrong
    stricter = [(n, v) for n, v in CASES if both[json.dumps([n, v])] and not passes(n, v)]
    assert stricter == [(n, v) for n, v in CASES if v in STRICTER.get(n, [])]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("time", '"yesterday"', "attribute 'time': found \"yesterday\"; expected an RFC 3339 time with its offset"),
        ("dataschema", '"x y"', "attribute 'dataschema': found \"x y\"; expected an absolute URI"),
        ("subject", '""', "attribute 'subject': found \"\"; expected text that is not empty"),
        ("level", "1.5", "attribute 'level': found 1.5; expected text, a boolean or an integer of 32 bits"),
        ("level", "1e400", "attribute 'level': found 1e400"),
        ("level", '"\\ud83d"', "attribute 'level': found"),
        ("Level", "1", "attribute 'Level': expected at most 64 lower-case letters and digits"),
        ("validate", "1", "SDK for JavaScript cannot read it"),
        ("type", '"trelay.gap"', "are reserved for Trelay"),
        ("source", '"/trelay"', "are reserved for Trelay"),
    ],
)
def test_an_error_names_the_attribute_the_value_and_what_is_expected(name: str, value: str, error: str) -> None:
    with pytest.raises(Malformed) as caught:
        check_attribute(name, value.encode())
    assert error in str(caught.value)
