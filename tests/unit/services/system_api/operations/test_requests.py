"""What operators ask, as they write it."""

from datetime import UTC, datetime

import pytest

from services.system_api.operations.requests import Command, Control, Outcome, Request, parse_place
from shared.errors import Malformed


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("beginning", "beginning"),
        ("end", "end"),
        ({"time": "2026-01-31T12:00:00+01:00"}, datetime(2026, 1, 31, 11, tzinfo=UTC)),
        ({"time": "2026-01-31T12:00:00Z"}, datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ({"position": {"": "7", "a": "{}"}}, {"": b"7", "a": b"{}"}),
    ],
)
def test_a_place(given: object, place: object) -> None:
    assert parse_place(given) == place


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "to: found null; expected"),
        ("start", 'to: found "start"; expected "beginning", "end"'),
        ({"time": "noon"}, 'to.time: found "noon"; expected RFC 3339'),
        ({"time": "2026-01-31T12:00:00"}, "has no time zone"),
        ({"time": "2026-01-31T12:00:00Z", "position": {}}, "to: found"),
        ({"time": 7}, "to: found"),
        ({"position": {}}, "to: found"),
        ({"position": {"": 7}}, "to.position: found 7; expected text"),
    ],
)
def test_what_is_no_place_is_refused(given: object, said: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_place(given)
    assert said in str(caught.value)


def test_a_request_is_pending_until_its_outcome() -> None:
    request = Request(2, Command.REWIND, '"end"', "oncall", 0.0)
    control = Control(request=request)
    assert Control().pending is None
    assert control.pending == request
    assert control.settled(Outcome(1, None, {}, 0.0)).pending == request
    done = control.settled(Outcome(2, None, {}, 0.0))
    assert done.pending is None
    assert done.settled(Outcome(1, "late", {}, 0.0)) == done
