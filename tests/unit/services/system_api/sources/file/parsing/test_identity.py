"""Attributes that say where an event comes from."""

import json
import random
from typing import Any

import pytest

from services.system_api.sources.file.parsing.identity import FileIdentity, OriginAttribute
from services.system_api.sources.source import EventBuilder
from shared.bus.protocol import Outgoing
from shared.events.event import decode, validate
from shared.runtime.clock import SYSTEM_CLOCK

BUILDER = EventBuilder("files", "t", None, SYSTEM_CLOCK, random.Random(1))
EVENT = BUILDER.numbered("1.ab")(7, "a", b'{"n":1}', None)


def identity(*names: str, path: str = "in/a") -> FileIdentity:
    return FileIdentity("files", "1.ab", path, tuple(map(OriginAttribute, names)))


def attributes(event: Outgoing) -> dict[str, Any]:
    validate(decode(event.value or b""))
    found: dict[str, Any] = json.loads(event.value or b"")
    return {name: found[name] for name in ("file", "line", "bytes", "record") if name in found}


def test_an_event_gets_the_attributes_that_are_wanted() -> None:
    lines = identity("bytes", "file", "line", path='in/Zoë "a",\n"data":')
    assert attributes(lines.with_line(EVENT, line=3, offset=120, size=10)) == {
        "bytes": "120-129", "file": 'in/Zoë "a",\n"data":', "line": 3
    }  # fmt: skip
    assert attributes(identity("record", "file").with_record(EVENT, 5)) == {"record": 5, "file": "in/a"}
    assert json.loads(lines.with_line(EVENT, line=3, offset=0, size=1).value or b"")["data"] == {"n": 1}


def test_without_any_the_event_is_unchanged() -> None:
    assert identity().with_line(EVENT, line=1, offset=0, size=1) is EVENT
    assert identity().with_record(EVENT, 1) is EVENT
    nothing = Outgoing(b"", None, ())
    assert identity("file").with_record(nothing, 1) is nothing


@pytest.mark.parametrize(("number", "value"), [(2**31 - 1, 2**31 - 1), (2**31, "2147483648")])
def test_a_number_of_more_than_32_bits_is_text(number: int, value: Any) -> None:
    assert attributes(identity("line").with_line(EVENT, line=number, offset=0, size=1)) == {"line": value}


def test_a_reject_names_path_line_and_bytes() -> None:
    reject = identity().reject(b"x", "broken", line=3, offset=120, size=10)
    assert (reject.id, reject.error, reject.origin) == (
        "files:1.ab:120", "in/a, line 3, bytes 120-129: broken", "files:in/a:3"
    )  # fmt: skip
