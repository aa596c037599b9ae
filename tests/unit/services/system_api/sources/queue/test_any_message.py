"""Whatever a broker delivers: each message becomes a valid event, or a reject with a reason."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.queue.message import Message
from shared.errors import Malformed
from shared.events.event import decode, validate
from tests.unit.services.system_api.sources.queue.messages import maker

TEXTS = st.text() | st.sampled_from(["", "\ud800", "\udcff", "\x00", "\ufeff", "a" * 300, "application/json"])
"""SQS escapes its texts in JSON, which can hold half of a surrogate pair."""
MEDIA = st.sampled_from(
    [
        "application/json",
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/cloudevents+xml",
        "text/plain; charset=punycode",
        ";",
        "/",
    ]
)
PREFIXES = st.sampled_from(["ce_", "ce-", "cloudEvents:", "cloudEvents_", ""])
ATTRIBUTES = st.sampled_from(
    ["specversion", "id", "source", "type", "subject", "time", "dataschema", "data", "datacontenttype", "channel", "x"]
)
BODIES = st.binary() | st.sampled_from(
    [
        b"",
        b"{}",
        b"null",
        b'{"a":1}',
        b"1e999",
        b'"\\ud800"',
        b"[" * 600 + b"]" * 600,
        b"9" * 5000,
        b"\xef\xbb\xbf1",
        b'{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}',
        b'{"specversion":"1.0","id":"1","source":"/s","type":"trelay.gap","subject":7}',
    ]
)
TIMES = st.none() | st.floats() | st.integers(-(2**64), 2**64).map(float)


@st.composite
def headers(draw: st.DrawFn) -> dict[str, str]:
    found = draw(st.dictionaries(TEXTS, TEXTS, max_size=3))
    if draw(st.booleans()):
        prefix = draw(PREFIXES)
        found |= {f"{prefix}{name}": draw(TEXTS) for name in draw(st.lists(ATTRIBUTES, unique=True))}
        found |= {f"{prefix}specversion": "1.0", f"{prefix}id": "1", f"{prefix}source": "/s", f"{prefix}type": "t"}
    return found


MESSAGES = st.builds(
    Message,
    place=st.text(min_size=1),
    body=BODIES,
    key=TEXTS,
    headers=headers(),
    content_type=st.none() | TEXTS | MEDIA,
    time=TIMES,
    fault=st.none() | st.none() | TEXTS,
)
SUBJECTS: list[Any] = [{"key": True}, {"header": "h"}, "a", "a.b"]
MAKERS = [
    maker(channel, subject=subject, content=content, cloudevents=cloudevents)
    for channel in (None, "c")
    for subject in SUBJECTS
    for content in ("json", "any")
    for cloudevents in (False, True)
]


@given(st.sampled_from(MAKERS), MESSAGES)
def test_a_message_becomes_an_event_or_a_reject(made: Any, message: Message) -> None:
    made.begin_batch()
    try:
        value = made.event(message).value or b""
    except Malformed as exc:
        reject = made.reject(message, str(exc)).record()
        assert reject.key == f"orders:{message.place}".encode()
        assert dict(reject.headers)["error"]
        return
    assert b"\n" not in value
    validate(decode(value))
    assert json.loads(value)["source"]
