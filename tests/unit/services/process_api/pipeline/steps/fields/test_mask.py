"""`mask`."""

import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.errors import Malformed
from tests.unit.services.process_api.making import applied, event, step_options, without_data

KEY = "k" * 16


def masked(data: Any, **settings: Any) -> Any:
    return applied({"mask": settings}, event(data))["data"]


@pytest.mark.parametrize(
    ("settings", "data", "expected"),
    [
        ({"redact": ["data.a"]}, {"a": {"b": 1}}, {"a": "***"}),
        ({"redact": ["data.a", "data.b"]}, {"a": None}, {"a": None}),
        ({"truncate": {"data.a": 2}}, {"a": "äöü"}, {"a": "äö"}),
        ({"truncate": {"data.a": 2}}, {"a": 12345}, {"a": "12"}),
        ({"truncate": {"data.a": 0}}, {"a": None}, {"a": None}),
        ({"keep_last": {"data.a": 2}}, {"a": "12345"}, {"a": "***45"}),
        ({"keep_last": {"data.a": 2}}, {"a": "1"}, {"a": "1"}),
        ({"keep_last": {"data.a": 0}}, {"a": "12"}, {"a": "**"}),
        ({"keep_last": {"data.a": 2}}, {"a": None}, {"a": None}),
        ({"hash": ["data.a"], "key": KEY}, {"a": None}, {"a": None}),
        ({"redact": ["data.l.a"]}, {"l": [{"a": 1}, {"a": 2}]}, {"l": [{"a": "***"}, {"a": "***"}]}),
    ],
)
def test_values_are_hidden(settings: Any, data: Any, expected: Any) -> None:
    assert masked(data, **settings) == expected


@pytest.mark.parametrize("settings", [{"redact": ["data"]}, {"truncate": {"data.zip": 2}}, {"redact": ["subject"]}])
def test_content_that_cannot_be_masked_does_not_pass(settings: Any) -> None:
    given = without_data(data_base64="eyJ6aXAiOiI4MDMzMSJ9", subject="Ada")
    if "data" not in str(settings):
        assert applied({"mask": settings}, given)["subject"] == "***"
        return
    with pytest.raises(Malformed, match=r"the event's data is not JSON \(data_base64\)"):
        applied({"mask": settings}, given)
    assert "data" not in applied({"mask": settings}, without_data())


def test_a_hash_is_keyed_and_the_same_for_the_same_value() -> None:
    def hashed(value: Any, key: str = KEY) -> Any:
        return masked({"a": value}, hash=["data.a"], key=key)["a"]

    assert hashed("Ada") == hmac.new(KEY.encode(), b"Ada", hashlib.sha256).hexdigest()
    assert hashed("Ada") != hashed("Ada", "l" * 16)
    assert hashed(7) == hashed("7") != hashed(8)
    assert hashed({"a": 1, "b": [2]}) == hashed({"b": [2], "a": 1})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1", "1.0", True),
        ("100", "1e2", True),
        ("1.5", "1.50", True),
        ("-0.0", "0", True),
        ("0.1234567890123456789", "0.12345678901234567890", True),
        ("0.12345678901234567890123456789012345", "0.12345678901234567890123456789012346", False),
        ("9007199254740993", "9007199254740993.0", True),
        ("9007199254740993", "9007199254740992", False),
        ('{"a":[1,{"b":2.0}]}', '{"a":[1.0,{"b":2}]}', True),
        ('{"a":0.12345678901234567890}', '{"a":0.1234567890123456789}', True),
        ("true", "1", False),
        ("[true]", "[1]", False),
        ("[null]", "[0]", False),
        ("1.5", "1.25", False),
        ("1e999999", "1e999998", False),
    ],
)
def test_equal_numbers_have_one_hash(one: str, other: str, *, same: bool) -> None:
    def hashed(written: str) -> Any:
        step = {"mask": {"hash": ["data.a"], "key": KEY}}
        return applied(step, event(text=f'{{"a":{written}}}'))["data"]["a"]

    assert (hashed(one) == hashed(other)) is same


@given(st.text(min_size=5))
def test_what_is_hidden_is_not_there_any_more(text: str) -> None:
    assert text not in str(masked({"a": text}, hash=["data.a"], key=KEY))
    kept = masked({"a": text}, keep_last={"data.a": 2})["a"]
    assert (len(kept), kept[-2:], set(kept[:-2])) == (len(text), text[-2:], {"*"})


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "expected one of hash, redact"),
        ({"hash": ["data.a"]}, "they belong together"),
        ({"redact": ["data.a"], "key": KEY}, "they belong together"),
        ({"hash": ["data.a"], "key": "short"}, "at least 16 characters"),
        ({"redact": ["id"]}, "cannot be changed"),
        ({"truncate": {"data.a": -1}}, "greater than or equal to 0"),
    ],
)
def test_malformed_settings_are_refused(settings: Any, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        step_options({"mask": settings})
