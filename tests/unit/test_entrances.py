"""One rule at every entrance: an event that a strict JSON reader refuses is never published, whichever way it came in.

Each entrance takes the JSON text of one value, and returns the published event, or the reason why there is none.
"""

import json
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from multidict import CIMultiDict, MultiDict

from services.experience_api.http.entity import Defaults, EntityOptions, Push, parse_events
from services.process_api.pipeline.steps.outcome import Rejected
from services.system_api.sources.file.parsing.columns import ColumnType
from services.system_api.sources.file.parsing.delimited import Csv
from services.system_api.sources.file.parsing.identity import FileIdentity
from services.system_api.sources.file.parsing.ndjson import Ndjson
from services.system_api.sources.file.parsing.parser import Format, Parser
from services.system_api.sources.http.polling.formats import BodyParser
from services.system_api.sources.http.polling.options import HttpSourceOptions
from services.system_api.sources.http.polling.records import Selector
from services.system_api.sources.source import Batch, EventBuilder
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.rows import RowEvents
from shared.errors import Malformed
from shared.events.strict_json import EVENT_LEVELS
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.process_api.making import pipeline

Entrance = Callable[[bytes], bytes | str]

_GOOD_LINE = b'{"id":"before","v":1}\n'


def builder() -> EventBuilder:
    return EventBuilder("orders", "t", None, SYSTEM_CLOCK, random.Random(1))


def outcome(batch: Batch) -> bytes | str:
    assert len(batch.records) + len(batch.rejects) == 1
    if batch.rejects:
        return batch.rejects[0].error
    return batch.records[0].value or b""


def parsed(form: Format, content: bytes, skip: int = 0) -> bytes | str:
    parser, batch = Parser(form, builder(), FileIdentity("orders", "1.ab", "a"), 1 << 20), Batch()
    parser.splitter.feed(content)
    parser.take(batch, 10)
    assert len(batch.records[:skip]) == skip
    del batch.records[:skip]
    return outcome(batch)


def ndjson(value: bytes) -> bytes | str:
    return parsed(Ndjson("id", None), b'%b{"id":"1","v":%b}\n' % (_GOOD_LINE, value), skip=1)


def ndjson_first_line(value: bytes) -> bytes | str:
    return parsed(Ndjson("id", None), b'{"id":"1","v":%b}\n' % value)


def http(value: bytes) -> bytes | str:
    """A page whose other record is readable."""
    options = HttpSourceOptions.model_validate({"kind": "http", "url": "https://api.example/", "type": "t", "id": "id"})
    body = b'[{"id":"before","v":1},{"id":"1","v":%b}]' % value
    try:
        page = Selector(options).page(BodyParser(None, ",", "place").json(body, "application/json"))
    except Malformed as exc:
        return str(exc)
    if page.unreadable:
        assert len(page.records) == 1
        return page.unreadable[0].error
    return builder().event("1", "1", page.records[1].data).value or b""


def csv(kind: ColumnType) -> Entrance:
    def entrance(value: bytes) -> bytes | str:
        form = Csv(
            "id", None, delimiter=",", quotes=True, header=False, columns=("id", "v"), types={"v": ColumnType(kind)}
        )
        quoted = value.replace(b'"', b'""')
        return parsed(form, b'1,"%b"\n' % quoted)

    return entrance


def table(value: bytes) -> bytes | str:
    batch = Batch()
    events: RowEvents[int] = RowEvents(builder(), "orders", "id", 1 << 20, lambda row: row.key, lambda _: None)
    events.add([Row(1, "1", "", "1", b'{"id":1,"v":%b}' % value)], batch)
    return outcome(batch)


def pushed(body: bytes, content_type: str, query: str = "", **headers: str) -> bytes | str:
    pairs = [("channel", query)] if query else []
    push = Push(CIMultiDict({"Content-Type": content_type, **headers}), MultiDict(pairs), body)
    defaults = Defaults("2026-01-31T12:00:00Z", lambda: "1", lambda: f"00-{'a' * 32}-{'b' * 16}-01")
    try:
        return parse_events(push, defaults, EntityOptions())[-1].value
    except Malformed as exc:
        return str(exc)


_HEAD = b'{"specversion":"1.0","id":"1","source":"/s","type":"t","channel":"c","data":'


def structured(value: bytes) -> bytes | str:
    return pushed(b'%b{"v":%b}}' % (_HEAD, value), "application/cloudevents+json")


def batched(value: bytes) -> bytes | str:
    body = b'[%b{}},%b{"v":%b}}]' % (_HEAD, _HEAD, value)
    return pushed(body, "application/cloudevents-batch+json")


def binary(value: bytes) -> bytes | str:
    names = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-channel": "c"}
    return pushed(b'{"v":%b}' % value, "application/json", **names)


def plain(value: bytes) -> bytes | str:
    return pushed(b'{"v":%b}' % value, "application/json", "c")


def through(*steps: Any) -> Entrance:
    """Return what an event that another program wrote to the ingest topic becomes."""

    def entrance(value: bytes) -> bytes | str:
        return processed(b'%b{"id":"1","v":%b}}' % (_HEAD, value), *steps)

    return entrance


def processed(event: bytes, *steps: Any, spliced: bool = False) -> bytes | str:
    try:
        (made,) = pipeline(*steps).run(event, spliced=spliced)
    except Rejected as exc:
        return str(exc)
    return made.value or b""


ENTRANCES: dict[str, Entrance] = {
    "NDJSON": ndjson,
    "NDJSON, first line": ndjson_first_line,
    "CSV json": csv(ColumnType.JSON),
    "table": table,
    "HTTP": http,
    "entity, structured": structured,
    "entity, batch": batched,
    "entity, binary": binary,
    "entity, plain": plain,
    "foreign record": through(),
    "foreign record, set": through({"set": {"data.copy": "=v"}}),
    "foreign record, rename": through({"rename": {"data.v": "data.w"}}),
    "foreign record, map": through({"map": '{"copy": v}'}),
    "foreign record, drop": through({"drop": ["data.id"]}),
}
CSV_NUMBERS: dict[str, Entrance] = {
    "CSV number": csv(ColumnType.NUMBER),
    "CSV integer": csv(ColumnType.INTEGER),
}

BAD_NUMBERS = {
    "exponent": b"1e400",
    "negative": b"-1e999",
    "plus": b"1E+400",
    "just above": b"1.7976931348623159e308",
    "310 digits": b"1" + b"0" * 309,
    "thousands of digits": b"7" * 5000,
    "digits and exponent": b"9" * 300 + b"e20",
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
}
BAD = {
    **BAD_NUMBERS,
    "escaped surrogate": rb'"cut emoji \ud83d"',
    "low surrogate": rb'"\ude00"',
    "surrogate in a name": rb'{"\ud83d":1}',
    "raw surrogate": b'"\xed\xa0\xbd"',
    "not UTF-8": b'"\xff"',
    "inside": b'[{"a":[1,2,{"b":1e400}]}]',
    "too deep": b"[" * EVENT_LEVELS + b"]" * EVENT_LEVELS,
    "far too deep": b'{"a":' * 5000 + b"1" + b"}" * 5000,
}
GOOD = {
    "largest": b"1.7976931348623157e308",
    "308 digits": b"1" + b"0" * 308,
    "small": b"1e-400",
    "pair": rb'"\ud83d\ude00"',
    "long text": b'"' + b"7" * 500 + b' 1e400, "',
    "twice": b'{"a":1,"a":2}',
}
SHALLOW = EVENT_LEVELS - 2
"""Levels of a value in the data's object in the event."""


def assert_readable(event: bytes | str) -> None:
    assert isinstance(event, bytes), event
    json.loads(event.decode(), parse_constant=pytest.fail)


@pytest.mark.parametrize("value", BAD.values(), ids=list(BAD))
@pytest.mark.parametrize("entrance", ENTRANCES.values(), ids=list(ENTRANCES))
def test_what_a_strict_reader_refuses_is_refused_with_a_reason(entrance: Entrance, value: bytes) -> None:
    reason = entrance(value)
    assert isinstance(reason, str), reason[:500]
    assert "byte" in reason


@pytest.mark.parametrize("value", GOOD.values(), ids=list(GOOD))
@pytest.mark.parametrize("entrance", ENTRANCES.values(), ids=list(ENTRANCES))
def test_what_every_reader_takes_passes(entrance: Entrance, value: bytes) -> None:
    assert_readable(entrance(value))


@pytest.mark.parametrize("entrance", [ENTRANCES[name] for name in ENTRANCES if "map" not in name])
def test_the_deepest_value_passes(entrance: Entrance) -> None:
    assert_readable(entrance(b"[" * SHALLOW + b"]" * SHALLOW))
    assert isinstance(entrance(b"[" * (SHALLOW + 1) + b"]" * (SHALLOW + 1)), str)


@pytest.mark.parametrize("value", BAD_NUMBERS.values(), ids=list(BAD_NUMBERS))
@pytest.mark.parametrize("entrance", CSV_NUMBERS.values(), ids=list(CSV_NUMBERS))
def test_a_column_of_numbers_refuses_what_is_out_of_range(entrance: Entrance, value: bytes) -> None:
    reason = entrance(value)
    assert isinstance(reason, str)
    assert "column 'v': found '" in reason


def test_a_column_of_numbers_takes_the_largest() -> None:
    assert_readable(CSV_NUMBERS["CSV number"](GOOD["largest"]))
    assert_readable(CSV_NUMBERS["CSV integer"](GOOD["308 digits"]))


RETURNED: dict[str, Any] = {
    "NaN": float("nan"),
    "-inf": float("-inf"),
    "large decimal": Decimal("1e400"),
    "decimal NaN": Decimal("NaN"),
    "310 digits": 10**309,
    "thousands of digits": 10**5000,
    "surrogate": "\ud83d",
    "surrogate in a name": {"\ud83d": 1},
    "inside": [[{"a": Decimal("-9e999")}]],
    "JSON that is not UTF-8": msgspec.Raw(b'"\xff"'),
    "JSON with a surrogate": msgspec.Raw(rb'"\ud83d"'),
}


def give(data: dict[str, Any]) -> Any:
    return {"v": RETURNED[data["name"]]}


@pytest.mark.parametrize("name", RETURNED)
@pytest.mark.parametrize("spliced", [True, False])
def test_what_a_function_returns_is_refused(name: str, spliced: bool) -> None:
    event = b'%b{"id":"1","name":%b}}' % (_HEAD, json.dumps(name).encode())
    reason = processed(event, {"python": f"{__name__}:give"}, spliced=spliced)
    assert isinstance(reason, str)
    assert reason.startswith(("steps.0.python: ", "channel: data: "))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("time", "yesterday"),
        ("time", "2026-01-31"),
        ("dataschema", "not a uri"),
        ("subject", ""),
        ("level", 1.5),
        ("level", 2**31),
        ("validate", "x"),
    ],
)
def test_an_attribute_that_an_sdk_refuses_is_refused(name: str, value: Any) -> None:
    """Cases of an attribute that is pushed, written by another program, set, and renamed."""
    head = _HEAD.decode().removesuffix('"data":')
    given = f'{head}"{name}":{json.dumps(value)},"data":{{}}}}'.encode()
    good = f'{head}"data":{{"v":{json.dumps(value)}}}}}'.encode()
    reasons = [
        pushed(given, "application/cloudevents+json"),
        processed(given),
        processed(good, {"set": {name: "=v"}}),
        processed(good, {"rename": {"data.v": name}}),
        processed(good, {"set": {name: "=v"}}, spliced=True),
    ]
    for reason in reasons:
        assert isinstance(reason, str), reason
        assert f"attribute {name!r}" in reason
