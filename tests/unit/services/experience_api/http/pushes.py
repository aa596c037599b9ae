"""Requests to POST /entity, as their handler parses them."""

import itertools
import json
from typing import Any

from multidict import CIMultiDict, MultiDict

from services.experience_api.http.entity import Defaults, EntityOptions, Push, PushedEvent, parse_events

STRUCTURED = "application/cloudevents+json"


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


WHOLE = {
    "specversion": "1.0",
    "id": "7",
    "source": "/shop",
    "type": "order.updated",
    "subject": "4711",
    "time": "2026-01-02T03:04:05Z",
    "channel": "orders.eu",
    "traceparent": TRACE,
    "data": {"total": 12.50},
}


def read(
    body: bytes | str | Any,
    content_type: str = STRUCTURED,
    query: str = "",
    headers: dict[str, str] | None = None,
    options: EntityOptions | None = None,
) -> list[PushedEvent]:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    text = body if isinstance(body, bytes | str) else json.dumps(body)
    push = Push(
        CIMultiDict({"Content-Type": content_type, **(headers or {})}),
        MultiDict((name, value) for name, _, value in pairs),
        text.encode() if isinstance(text, str) else text,
    )
    ids = itertools.count(1)
    defaults = Defaults("2023-11-14T22:13:20.500Z", lambda: f"made-{next(ids)}", lambda: TRACE)
    return parse_events(push, defaults, options or EntityOptions())


def one(*arguments: Any, **keywords: Any) -> dict[str, Any]:
    (pushed,) = read(*arguments, **keywords)
    value: dict[str, Any] = json.loads(pushed.value)
    return value


def without(*names: str, **changed: Any) -> dict[str, Any]:
    return {name: value for name, value in (WHOLE | changed).items() if name not in names}
