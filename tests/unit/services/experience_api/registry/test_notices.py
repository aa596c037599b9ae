import contextlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.registry.notices import (
    ClaimLost,
    ConnectionDetails,
    DetailsRequest,
    DetailsResult,
    LossReason,
    Notice,
    Probe,
    ProbeResult,
    decode,
    encode,
)
from shared.errors import Malformed

ONE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.mark.parametrize(
    "notice",
    [
        *(ClaimLost(ONE, reason) for reason in LossReason),
        Probe(ONE, "node-1", OTHER),
        ProbeResult(OTHER, alive=True),
        DetailsRequest(ONE, "node-1", (OTHER,)),
        DetailsResult(ONE, (ConnectionDetails(OTHER, ("a",), "cursor", 1, live=True, buffered=0, acknowledged=None),)),
    ],
)
def test_decoding_reverses_encoding(notice: Notice) -> None:
    assert decode(encode(notice)) == notice
    assert len(encode(notice)) < 1000


@pytest.mark.parametrize(
    "text", ["", "{}", '{"type":"new kind"}', '{"type":"claim_lost","connection_id":"x","reason":"removed"}', "\x00"]
)
def test_an_unknown_notice_is_malformed(text: str) -> None:
    with pytest.raises(Malformed, match="notice"):
        decode(text)


@given(st.text())
def test_any_text_is_a_notice_or_malformed(text: str) -> None:
    with contextlib.suppress(Malformed):
        decode(text)
