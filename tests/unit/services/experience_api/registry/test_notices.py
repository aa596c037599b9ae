import contextlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.registry.notices import Answer, Lost, Notice, Probe, Why, decode, encode
from shared.errors import Malformed

ONE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.mark.parametrize(
    "notice", [*(Lost(ONE, why) for why in Why), Probe(ONE, "node-1", OTHER), Answer(OTHER, alive=True)]
)
def test_a_notice_is_read_as_it_was_written(notice: Notice) -> None:
    assert decode(encode(notice)) == notice
    assert len(encode(notice)) < 1000


@pytest.mark.parametrize(
    "text", ["", "{}", '{"type":"new kind"}', '{"type":"lost","connection_id":"x","why":"removed"}', "\x00"]
)
def test_what_this_release_does_not_know_is_malformed(text: str) -> None:
    with pytest.raises(Malformed, match="notice"):
        decode(text)


@given(st.text())
def test_any_text_is_a_notice_or_malformed(text: str) -> None:
    with contextlib.suppress(Malformed):
        decode(text)
