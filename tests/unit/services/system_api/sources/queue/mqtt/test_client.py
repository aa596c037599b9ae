"""Texts in the properties of MQTT packets, whatever a broker passes on."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import properties
from paho.mqtt._packet import DECODE_ERRORS
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

from services.system_api.sources.queue.mqtt import client


def decoded(*given: bytes) -> Any:
    """Decode properties as paho-mqtt does."""
    block = b"".join(given)
    found = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # published without types
    found.unpack(VariableByteIntegers.encode(len(block)) + block)  # type: ignore[no-untyped-call]
    return found


def text(value: bytes) -> bytes:
    return len(value).to_bytes(2) + value


def user(name: bytes, value: bytes) -> bytes:
    return b"\x26" + text(name) + text(value)


def content_type(value: bytes) -> bytes:
    return b"\x03" + text(value)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("\ufeffa".encode(), "\ufeffa"),
        (b"\0", "\0"),
        (b"\xff", r"\xff"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        ("a€".encode(), "a€"),
        (b"", ""),
    ],
)
def test_any_text_is_read(value: bytes, found: str) -> None:
    assert properties.readUTF is client._text
    packet = decoded(user(b"k", value), content_type(value), user(value, b"v"))
    assert packet.UserProperty == [("k", found), (found, "v")]
    assert packet.ContentType == found


@pytest.mark.parametrize("block", [b"\x03", b"\x03\0", b"\x03\0\x02a", b"\x26\0\x01a", b"\x26\0\x01a\0\x02b"])
def test_a_text_that_is_cut_is_malformed(block: bytes) -> None:
    with pytest.raises(MalformedPacket):
        decoded(block)


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=3), st.binary(max_size=20))
def test_whatever_a_sender_writes_is_text(pairs: list[tuple[bytes, bytes]], media: bytes) -> None:
    found = decoded(*(user(*pair) for pair in pairs), content_type(media))
    read = getattr(found, "UserProperty", [])
    assert len(read) == len(pairs)
    for each in [*read, (found.ContentType,)]:
        "".join(each).encode()


@given(st.binary(max_size=60))
def test_anything_else_is_no_other_error(block: bytes) -> None:
    try:
        decoded(block)
    except DECODE_ERRORS:
        return  # paho-mqtt takes the packet for malformed
