"""The schema of pushed events and the parser agree on which events are valid."""

import json
from typing import Any

import jsonschema_rs
import pytest
from multidict import CIMultiDict, MultiDict

from services.experience_api.api.schemas import EVENT, PUSHED
from services.experience_api.http.entity import Defaults, EntityOptions, Push, parse_events
from shared.errors import Malformed

MINIMAL = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order", "channel": "orders"}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DEFAULTS = Defaults(time="2026-01-31T12:00:00Z", new_id=lambda: "1", traceparent=lambda: TRACE)
PUSHED_SCHEMA, EVENT_SCHEMA = (jsonschema_rs.validator_for({**each}, validate_formats=True) for each in (PUSHED, EVENT))

VALID: dict[str, dict[str, Any]] = {
    "minimal": {},
    "all attributes": {
        "subject": "C-1",
        "time": "2026-01-31T12:00:00Z",
        "datacontenttype": "application/json",
        "dataschema": "https://example.com/order",
        "traceparent": TRACE,
        "data": {"total": 1},
    },
    "extensions": {"region": "eu", "urgent": True, "number": -(2**31)},
    "null attributes": {"subject": None, "time": None, "dataschema": None, "traceparent": None, "region": None},
    "null data": {"data": None},
    "null of one kind of data": {"data": 1, "data_base64": None},
    "binary data": {"data_base64": "AAE="},
    "empty binary data": {"data_base64": ""},
    "binary data with bits beyond its end": {"data_base64": "AB=="},
    "null cursor": {"cursor": None},
    "control character": {"subject": "a\u0085b"},
}
INVALID: dict[str, dict[str, Any]] = {
    "version": {"specversion": "0.3"},
    "empty id": {"id": ""},
    "null type": {"type": None},
    "number as id": {"id": 1},
    "channel": {"channel": "orders."},
    "long channel": {"channel": "a" * 201},
    "time": {"time": "yesterday"},
    "trace of zeros": {"traceparent": "00-00000000000000000000000000000000-b7ad6b7169203331-01"},
    "name": {"Region": "eu"},
    "long name": {"r" * 65: "eu"},
    "name that an SDK uses": {"schemaurl": "https://example.com"},
    "object as extension": {"region": {}},
    "large extension": {"number": 2**31},
    "both kinds of data": {"data": 1, "data_base64": "AAE="},
    "base64 without its padding": {"data_base64": "AAE"},
    "other text as base64": {"data_base64": "AA=="[::-1]},
    "cursor": {"cursor": "AQ"},
    "own source": {"source": "/trelay"},
    "own type": {"type": "trelay.gap"},
}


def parse(event: dict[str, Any]) -> None:
    headers = CIMultiDict({"Content-Type": "application/cloudevents+json"})
    parse_events(Push(headers, MultiDict(), json.dumps(event).encode()), DEFAULTS, EntityOptions())


@pytest.mark.parametrize("name", VALID)
def test_what_the_schema_permits_is_accepted(name: str) -> None:
    event = MINIMAL | VALID[name]
    PUSHED_SCHEMA.validate(event)
    parse(event)


@pytest.mark.parametrize("name", INVALID)
def test_what_the_schema_forbids_is_refused(name: str) -> None:
    event = MINIMAL | INVALID[name]
    assert not PUSHED_SCHEMA.is_valid(event)
    with pytest.raises(Malformed):
        parse(event)


def test_an_event_that_is_delivered_has_no_null_attribute() -> None:
    EVENT_SCHEMA.validate(MINIMAL | VALID["all attributes"] | VALID["extensions"] | {"cursor": "AQ"})
    for name in VALID["null attributes"]:
        assert not EVENT_SCHEMA.is_valid(MINIMAL | {name: None}), name
