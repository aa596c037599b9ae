"""What an event stream says when it ends; the rest is tested on real sockets."""

import json

import pytest

from services.experience_api.hub.close_codes import DRAINING, REPLACED, CloseReason
from services.experience_api.stream.http_delivery import Batch, closing


@pytest.mark.parametrize(
    ("reason", "wait", "retry", "data"),
    [
        (DRAINING, None, "1000", {"code": 4000, "reason": "draining", "wait": 1.0}),
        (DRAINING, 2.54, "2540", {"code": 4000, "reason": "draining", "wait": 2.5}),
        (REPLACED, None, None, {"code": 4501, "reason": "replaced by a new registration"}),
    ],
)
def test_the_last_entry(reason: CloseReason, wait: float | None, retry: str | None, data: dict[str, object]) -> None:
    lines = dict(line.split(": ", 1) for line in closing(reason, wait).decode().strip().split("\n"))
    assert lines.get("retry") == retry
    assert lines["event"] == "trelay.closed"
    assert json.loads(lines["data"]) == data


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        (Batch([b"1", b"2"], b"c", None), {"cursor": "c", "events": [1, 2]}),
        (
            Batch([], b"c", DRAINING, 3.52),
            {"cursor": "c", "closed": {"code": 4000, "reason": "draining; wait=3.5"}, "events": []},
        ),
        (Batch([], b"c", REPLACED), {"cursor": "c", "closed": {"code": 4501, "reason": REPLACED.name}, "events": []}),
    ],
)
def test_the_body_of_a_batch(batch: Batch, found: dict[str, object]) -> None:
    assert json.loads(batch.encoded(batch.events, batch.cursor)) == found
