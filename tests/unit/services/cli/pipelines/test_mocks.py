"""Which look-up gets which answer."""

import pytest
from pydantic import ValidationError
from yarl import URL

from services.cli.pipelines.mocks import Mock, Mocks
from shared.errors import Unavailable
from shared.http.client.client import Request

URL_ = URL("https://api.example/orders/7")
POST = Request("POST", URL_, {}, b'{"amount": 5}')


def mock(**given: object) -> Mock:
    return Mock.model_validate({"answers": [{"value": 1}], **given})


def test_answers_come_in_turn_and_the_last_one_is_repeated() -> None:
    mocks = Mocks([mock(key="C-9", answers=[{"value": {"n": 1}}, {"missing": True}])])
    assert mocks.left == 0
    found = [mocks.of_key("steps.0.enrich", "C-9") for _ in range(3)]
    assert [each and each.value for each in found] == [b'{"n": 1}', None, None]
    assert mocks.left == 0
    assert mocks.of_key("steps.0.enrich", "C-1") is None


@pytest.mark.parametrize(
    ("given", "answers"),
    [
        ({}, True),
        ({"step": "call"}, True),
        ({"step": "steps.1.call"}, True),
        ({"step": "steps.2.call"}, False),
        ({"step": "enrich"}, False),
        ({"method": "POST"}, True),
        ({"method": "GET"}, False),
        ({"url": "https://api.example/*"}, True),
        ({"url": "https://api.example/orders"}, False),
        ({"body": "amount = 5"}, True),
        ({"body": "amount = 6"}, False),
        ({"body": "$error('no')"}, False),
        ({"key": "7"}, False),
    ],
    ids=str,
)
def test_a_mock_answers_what_it_describes(given: dict[str, object], *, answers: bool) -> None:
    mocks = Mocks([mock(**given)], live=True)
    found = mocks.of_request("steps.1.call", POST)
    assert (found is not None) == answers
    assert mocks.unused() == ([] if answers else ["mocks.0"])


def test_a_body_condition_needs_a_body() -> None:
    mocks = Mocks([mock(body="true")], live=True)
    assert mocks.of_request("steps.1.call", Request("GET", URL_)) is None
    assert mocks.of_request("steps.1.call", Request("POST", URL_, {}, b"no")) is None


def test_own_mocks_come_before_shared_ones_which_need_not_be_used() -> None:
    own, shared = mock(url="*/7", answers=[{"status": 201, "text": "a"}]), mock(answers=[{"value": 2}])
    mocks = Mocks([own], [shared])
    first = mocks.of_request("steps.1.call", POST)
    other = mocks.of_request("steps.1.call", POST._replace(url=URL("https://api.example/8")))
    assert first is not None
    assert other is not None
    assert (first.status, first.body, other.status, other.body) == (201, b"a", 200, b"2")
    assert Mocks([], [shared]).unused() == []


def test_a_mock_of_requests_answers_no_key() -> None:
    mocks = Mocks([mock(url="*"), mock(answers=[{"status": 200, "headers": {"Retry-After": "1"}}])])
    assert mocks.of_key("steps.0.enrich", "C-9") is None
    found = mocks.of_request("steps.0.enrich", POST)
    assert found is not None


def test_the_key_is_compared_as_its_text() -> None:
    mocks = Mocks([mock(key=7), mock(key=True)])
    assert mocks.of_key("steps.0.enrich", "7") is not None
    assert mocks.of_key("steps.0.enrich", "true") is not None
    assert Mocks([mock(key=7)]).of_key("steps.0.enrich", "70") is None


def test_failures_are_those_of_the_other_system() -> None:
    mocks = Mocks([mock(answers=[{"timeout": True}, {"error": "refused"}, {"missing": True}])])
    with pytest.raises(Unavailable, match="no answer in time"):
        mocks.of_key("steps.0.enrich", "C-9")
    with pytest.raises(Unavailable, match="'C-9' fails: refused"):
        mocks.of_key("steps.0.enrich", "C-9")
    mocks = Mocks([mock(answers=[{"timeout": True}, {"error": "refused"}, {"missing": True}])])
    with pytest.raises(TimeoutError):
        mocks.of_request("steps.1.call", POST)
    with pytest.raises(OSError, match="refused"):
        mocks.of_request("steps.1.call", POST)
    found = mocks.of_request("steps.1.call", POST)
    assert found is not None
    assert found.status == 404


def test_what_has_no_answer_is_named_and_not_asked_unless_live() -> None:
    mocks = Mocks([])
    with pytest.raises(Unavailable, match=r"steps.1.call: POST https://api.example/orders/7 has no answer"):
        mocks.of_request("steps.1.call", POST)
    with pytest.raises(Unavailable, match=r"steps.0.enrich: the key 'C-9' has no answer"):
        mocks.check_query("steps.0.enrich", "C-9")
    assert len(mocks.unanswered) == 2
    live = Mocks([], live=True)
    assert live.of_request("steps.1.call", POST) is None
    live.check_query("steps.0.enrich", "C-9")
    assert live.unanswered == []


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"answers": []}, "at least 1 item"),
        ({"answers": [{"value": 1, "missing": True}]}, "found missing and value; expected one of them"),
        ({"key": "a", "url": "*"}, "found `key` beside a request"),
        ({"key": "a", "answers": [{"status": 503}]}, "expected `url` in the place of it"),
        ({"body": "amount >"}, "does not compile"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_mock_is_refused(given: dict[str, object], error: str) -> None:
    with pytest.raises(ValidationError, match=error):
        mock(**given)
