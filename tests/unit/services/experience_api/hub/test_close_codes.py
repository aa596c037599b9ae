import pytest

from services.experience_api.hub import close_codes
from services.experience_api.hub.close_codes import (
    ALL,
    COME_BACK,
    DRAINING,
    REASON_LIMIT,
    STAY_AWAY,
    CloseReason,
    of_fault,
)


def test_all_are_listed_and_no_code_or_name_is_used_twice() -> None:
    declared = [value for value in vars(close_codes).values() if isinstance(value, CloseReason)]
    assert sorted(declared, key=lambda reason: reason.code) == sorted(ALL, key=lambda reason: reason.code)
    assert len({reason.code for reason in ALL}) == len({reason.name for reason in ALL}) == len(ALL)


@pytest.mark.parametrize("reason", ALL, ids=lambda reason: reason.name)
def test_the_range_says_whether_to_come_back(reason: CloseReason) -> None:
    if reason.code >= 4000:
        assert reason.code in (COME_BACK if reason.come_back else STAY_AWAY)
    else:
        assert reason.code in {1000, 1002, 1006, 1007, 1009}


@pytest.mark.parametrize("reason", ALL, ids=lambda reason: reason.name)
def test_the_text_fits_into_a_close_frame_and_names_the_wait(reason: CloseReason) -> None:
    for wait in (None, 0.04, 12345.678):
        assert len(reason.text(wait).encode()) <= REASON_LIMIT
    assert ("wait=" in reason.text()) == reason.come_back


def test_a_wait_of_its_own() -> None:
    assert DRAINING.text() == "draining; wait=1.0"
    assert DRAINING.text(3.14) == "draining; wait=3.1"


def test_faults_of_the_peer() -> None:
    assert of_fault(1009) is close_codes.TOO_BIG
    assert of_fault(1007) is close_codes.NOT_UTF8
    assert of_fault(1003) is close_codes.PROTOCOL_ERROR
