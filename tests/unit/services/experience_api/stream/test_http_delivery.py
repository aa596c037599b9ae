"""What an event stream says when it ends; the rest is tested on real sockets."""

import json

import pytest

from services.experience_api.hub.close_codes import DRAINING, REPLACED, CloseReason
from services.experience_api.stream.http_delivery import closing


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
