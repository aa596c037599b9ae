import re

import pytest

from services.experience_api import refusals
from services.experience_api.refusals import Refusal, Refused


def test_every_refusal_is_listed_and_codes_are_unique() -> None:
    named = [value for value in vars(refusals).values() if isinstance(value, Refusal)]
    assert sorted(named, key=id) == sorted(refusals.ALL, key=id)
    assert len({refusal.code for refusal in refusals.ALL}) == len(refusals.ALL)


@pytest.mark.parametrize("refusal", refusals.ALL, ids=lambda refusal: refusal.code)
def test_a_refusal_is_a_client_or_server_error_with_a_code_for_programs(refusal: Refusal) -> None:
    assert 400 <= refusal.status < 600
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", refusal.code)


def test_problem_details_name_the_refusal_and_the_detail() -> None:
    refused = Refused(refusals.ALREADY_CONNECTED, "since 12:00")
    assert refused.members == {
        "type": "urn:trelay:problem:already-connected",
        "title": "The client is already connected",
        "code": "already-connected",
    }
    assert refused.detail == "since 12:00"
    assert str(refused) == "already-connected: since 12:00"


def test_the_default_detail_is_the_title() -> None:
    assert Refused(refusals.DRAINING).detail == refusals.DRAINING.title


def test_a_time_to_wait_is_a_whole_number_of_seconds() -> None:
    assert Refused(refusals.BUSY, retry_after=0.2).headers["Retry-After"] == "1"
    assert Refused(refusals.BUSY, retry_after=2.1).headers["Retry-After"] == "3"


def test_the_metric_label_of_a_refusal_has_no_hyphen() -> None:
    assert refusals.ALREADY_CONNECTED.label == "already_connected"
