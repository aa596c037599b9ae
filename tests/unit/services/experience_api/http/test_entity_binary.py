"""Binary mode of POST /entity: attributes in headers, data in the body."""

import base64
import re

import pytest
from multidict import CIMultiDict, MultiDict

from services.experience_api.http.entity import Defaults, EntityOptions, Push, parse_events
from services.experience_api.refusals import UNSUPPORTED_TYPE, Refused
from shared.errors import Malformed
from tests.unit.services.experience_api.http.pushes import one, read


def test_binary_mode_takes_attributes_from_headers_and_json_inline() -> None:
    headers = {
        "ce-specversion": "1.0",
        "CE-ID": "7",
        "ce-source": "/shop",
        "ce-type": "order.updated",
        "ce-channel": "orders.eu",
        "ce-subject": "Euro%20%E2%82%AC%20%F0%9F%98%80",
        "ce-myext": '"quoted \\"text\\""',
        "x-other": "not an attribute",
    }
    event = one('{"a": 1}', "application/json; charset=UTF-8", headers=headers)
    assert event["data"] == {"a": 1}
    assert event["datacontenttype"] == "application/json; charset=UTF-8"
    assert event["subject"] == "Euro € 😀"
    assert event["myext"] == 'quoted "text"'
    assert "x-other" not in event


def binary_headers(**changed: str) -> dict[str, str]:
    names = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "t", "channel": "c", **changed}
    return {f"ce-{name}": value for name, value in names.items()}


def test_binary_mode_keeps_other_data_as_base64() -> None:
    event = one(b"\x00\xff", "image/png", headers=binary_headers())
    assert base64.b64decode(event["data_base64"]) == b"\x00\xff"
    assert event["datacontenttype"] == "image/png"
    assert "data" not in event


@pytest.mark.parametrize("content_type", ["text/plain; charset=iso-8859-1", "application/xml;charset=UTF-16"])
def test_binary_mode_keeps_data_of_any_charset(content_type: str) -> None:
    event = one("Gr\u00fc\u00dfe".encode("latin-1"), content_type, headers=binary_headers())
    assert base64.b64decode(event["data_base64"]) == b"Gr\xfc\xdfe"
    assert event["datacontenttype"] == content_type


def test_binary_mode_takes_json_in_utf_8_alone() -> None:
    with pytest.raises(Refused) as refused:
        one("{}", "application/json; charset=iso-8859-1", headers=binary_headers())
    assert refused.value.refusal is UNSUPPORTED_TYPE


def test_binary_mode_without_a_body_has_no_data() -> None:
    event = one(b"", "", headers=binary_headers())
    assert not {"data", "data_base64", "datacontenttype"} & set(event)


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        (binary_headers(subject="%ff"), "not UTF-8"),
        (binary_headers(subject="a%0Ab"), "control character"),
        (binary_headers(subject="\udcff"), "not UTF-8"),
        (binary_headers(channel="a b"), "channel"),
        (binary_headers(datacontenttype="text/plain"), "datacontenttype"),
        (binary_headers(data="x"), "'ce-data'"),
        (binary_headers(**{"my-ext": "x"}), "attribute 'my-ext'"),
        (binary_headers(specversion="2"), "specversion"),
        (binary_headers(id=""), "attribute 'id'"),
        ({"ce-id": "7"}, "specversion"),
    ],
)
def test_binary_mode_names_an_invalid_header(headers: dict[str, str], why: str) -> None:
    with pytest.raises(Malformed, match=re.escape(why)):
        read("{}", "application/json", headers=headers)


def test_a_repeated_header_is_refused() -> None:
    push = Push(CIMultiDict([*binary_headers().items(), ("Ce-Id", "8")]), MultiDict(), b"")
    with pytest.raises(Malformed, match="more than once"):
        parse_events(push, Defaults("", str, str), EntityOptions())
