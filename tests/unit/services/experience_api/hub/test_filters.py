import gc
import json

import pytest

from services.experience_api.hub import filters
from services.experience_api.hub.filters import COUNT_LIMIT, COUNTS, Filter, check_filters, filter_of
from services.experience_api.wire.frames import event_frame, event_payload
from shared.errors import Malformed


def frame(number: int, **data: object) -> bytes:
    return event_frame(json.dumps({"id": str(number), "data": {"n": number, **data}}).encode(), b"AaB")


def test_an_event_is_evaluated_once_for_all_that_share_the_filter() -> None:
    one, before = filter_of("n > 3"), COUNTS.evaluations
    assert filter_of("n > 3") is one
    assert [one.passes(frame(number)) for number in (3, 4, 4, 3)] == [False, True, True, False]
    assert COUNTS.evaluations == before + 2


def test_events_on_which_a_filter_fails_pass_and_are_counted() -> None:
    one, before = filter_of("text > 3"), COUNTS.failures
    assert one.passes(frame(1, text="x"))
    assert one.passes(frame(1, text="x"))
    assert COUNTS.failures == before + 1


@pytest.mark.parametrize(
    "value",
    [
        b'{"id":"1","data":{"n":NaN}}',
        b'{"id":"1"',
        b'{"id":"1"}{"id":"2"}',
        b'{"id":"\\ud800","data":{"n":4}}',
        b'{"data":' + b'{"n":' * 5000 + b"1" + b"}" * 5000 + b"}",
    ],
    ids=["no number", "cut off", "two", "half a character", "deep"],
)
def test_what_another_program_has_written_and_is_no_json_passes(value: bytes) -> None:
    """Without its filter it would be delivered as well; an error here would end the delivery to all."""
    one, before = filter_of("n > 3"), COUNTS.failures
    assert one.passes(event_frame(event_payload(value), b"AaB"))
    assert COUNTS.failures == before + 1


def test_the_oldest_results_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "_MEMO_BYTES", 1000)
    one, before = Filter("n = 1"), COUNTS.evaluations
    for number in range(10):
        one.passes(frame(number))
    assert not one.passes(frame(9))
    assert COUNTS.evaluations == before + 10
    assert one.passes(frame(1))
    assert COUNTS.evaluations == before + 11


def test_what_left_the_newest_results_is_kept_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "_MEMO_BYTES", 3 * (len(frame(1)) + filters._ROW_BYTES))
    one, before = Filter("n = 1"), COUNTS.evaluations
    for number in range(4):
        one.passes(frame(number))
    assert one.passes(frame(1))
    assert COUNTS.evaluations == before + 4


def test_a_filter_that_no_connection_has_is_dropped() -> None:
    filter_of("n = 12345")
    gc.collect()
    assert "n = 12345" not in filters._shared


def test_filters_are_checked() -> None:
    check_filters({"a": "n = 1", "b.*": "$event.type = 'x'"})
    with pytest.raises(Malformed, match=r"filter of 'b\.\*': position 5: found the end; expected comparisons"):
        check_filters({"a": "n = 1", "b.*": "n = "})
    with pytest.raises(Malformed, match="found 11 filters; the limit is 10"):
        check_filters({str(number): "n = 1" for number in range(COUNT_LIMIT + 1)})


def test_filters_of_one_event_share_what_was_parsed_of_it() -> None:
    one = frame(7, text="x")
    assert [filter_of(expression).passes(one) for expression in ("n = 7", "text = 'y'", "n < 7")] == [
        True,
        False,
        False,
    ]
