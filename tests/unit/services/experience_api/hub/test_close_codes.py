import re

import pytest

from services.experience_api.hub import close_codes
from services.experience_api.hub.close_codes import (
    ALL,
    DRAINING,
    REASON_LIMIT,
    RECONNECT,
    STOP,
    CloseReason,
    of_protocol_error,
)


def test_all_reasons_are_listed_and_codes_and_names_are_unique() -> None:
    declared = [value for value in vars(close_codes).values() if isinstance(value, CloseReason)]
    assert sorted(declared, key=lambda reason: reason.code) == sorted(ALL, key=lambda reason: reason.code)
    assert len({reason.code for reason in ALL}) == len({reason.name for reason in ALL}) == len(ALL)


@pytest.mark.parametrize("reason", ALL, ids=lambda reason: reason.name)
def test_the_range_says_whether_to_reconnect(reason: CloseReason) -> None:
    if reason.code >= 4000:
        assert reason.code in (RECONNECT if reason.reconnect else STOP)
    else:
        assert reason.code in {1000, 1002, 1006, 1007, 1009}


@pytest.mark.parametrize("reason", ALL, ids=lambda reason: reason.name)
def test_the_text_fits_into_a_close_frame_and_names_the_wait(reason: CloseReason) -> None:
    for wait in (None, 0.04, 12345.678):
        assert len(reason.text(wait).encode()) <= REASON_LIMIT
    assert ("wait=" in reason.text()) == reason.reconnect


def test_a_given_wait_replaces_the_default() -> None:
    assert DRAINING.text() == "draining; wait=1.0"
    assert DRAINING.text(3.14) == "draining; wait=3.1"


def test_errors_in_the_peers_frames() -> None:
    assert of_protocol_error(1009) is close_codes.TOO_BIG
    assert of_protocol_error(1007) is close_codes.NOT_UTF8
    assert of_protocol_error(1003) is close_codes.PROTOCOL_ERROR


@pytest.mark.parametrize("reason", ALL, ids=lambda reason: reason.name)
def test_the_label_is_a_snake_case_token(reason: CloseReason) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", reason.label)
