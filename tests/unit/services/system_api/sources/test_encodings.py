"""Names of encodings that come from outside."""

import codecs
from encodings.aliases import aliases

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.encodings import decoded, text_encoding
from shared.errors import Malformed


@pytest.mark.parametrize(
    ("name", "found"),
    [("UTF8", "utf-8"), ("utf_8_sig", "utf-8-sig"), ("Latin-1", "iso8859-1"), ("cp1252", "cp1252"), ("utf-7", "utf-7")],
)
def test_an_encoding_has_one_name(name: str, found: str) -> None:
    assert text_encoding(name) == found


@pytest.mark.parametrize("name", ["", "klingon", "utf-8\0x", "\ud800", "x" * 10_000, "../os", "é"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(Malformed, match="there is no encoding"):
        text_encoding(name)


@pytest.mark.parametrize("name", ["base64", "rot13", "punycode", "idna", "undefined", "unicode_escape"])
def test_what_is_no_encoding_of_text_is_refused(name: str) -> None:
    with pytest.raises(Malformed, match="is no encoding of text"):
        text_encoding(name)


@pytest.mark.parametrize(
    ("data", "encoding", "why"),
    [
        (b"\xff", "utf-8", "not utf-8: invalid start byte at byte 0"),
        (b"a+2AA-", "utf-7", "not utf-7: it gives no text that UTF-8 can encode"),
    ],
)
def test_what_is_not_of_an_encoding_is_malformed(data: bytes, encoding: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        decoded(data, encoding)


@given(
    st.sampled_from(sorted({*aliases, *aliases.values(), "idna", "punycode", "undefined", "raw_unicode_escape"}))
    | st.text(),
    st.binary() | st.text(alphabet="+-AD2x\\u").map(str.encode),
)
def test_any_name_gives_text_for_everyone_or_an_error(name: str, data: bytes) -> None:
    try:
        encoding = text_encoding(name)
        text = decoded(data, encoding)
    except Malformed:
        return
    assert text == codecs.decode(data, encoding)
    text.encode()
