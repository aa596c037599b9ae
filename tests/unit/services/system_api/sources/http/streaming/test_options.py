"""The settings of streams."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.system_api.sources.http.streaming.options import SseSourceOptions, WebSocketSourceOptions


def websocket(**given: Any) -> WebSocketSourceOptions:
    return WebSocketSourceOptions.model_validate({"kind": "websocket", "url": "wss://x.example", "type": "t"} | given)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"cursor": "a"}, "cursor: needs"),
        ({"cursor_parameter": "a"}, "cursor: needs"),
        ({"start": "1"}, "start: needs"),
        ({"url": "https://x.example"}, "expected wss://host/path"),
        ({"subscribe": ["{no"]}, "expected JSON"),
        ({"timeout": 31}, "at most half of poll_timeout"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any], error: str) -> None:
    with pytest.raises(ValidationError, match=error):
        websocket(**given)


def test_expressions() -> None:
    found = websocket(cursor="a", resume="b", subject="c", subscribe=['{"op":1}'])
    assert found.expressions() == {"records": "$", "subject": "c", "cursor": "a", "resume": "b"}
    sse = SseSourceOptions.model_validate({"kind": "sse", "url": "https://x.example", "type": "t", "id": "i"})
    assert sse.expressions() == {"records": "$", "id": "i"}
