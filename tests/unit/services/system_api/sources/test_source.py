"""How a source makes its events."""

import json
import random

import msgspec
import pytest

from services.system_api.sources.source import Batch, EventBuilder
from shared.errors import Malformed
from shared.events.dead_letter import Reject
from shared.events.event import Channel, decode, validate
from shared.events.headers import CONTENT_TYPE, PROVENANCE, unpack_provenance
from shared.runtime.clock import SystemClock
from shared.runtime.trace import Span, in_span


class Frozen(SystemClock):
    def time(self) -> float:
        return 1_767_323_045.678


def event_builder(channel: str | None = None) -> EventBuilder:
    return EventBuilder(
        "orders", "order.updated", None if channel is None else Channel(channel), Frozen(), random.Random(1)
    )


def test_an_event_carries_its_place_and_its_key() -> None:
    record = event_builder().event("4711@9", "customer é", b'{"n":9007199254740993}')
    event = json.loads(record.value or b"")
    validate(decode(record.value or b""))
    assert (event["id"], event["subject"], event["data"]) == ("orders:4711@9", "customer é", {"n": 9007199254740993})
    assert event["time"] == "2026-01-02T03:04:05.678Z"
    assert record.key == "customer é".encode()
    assert record.headers[0] == CONTENT_TYPE
    assert unpack_provenance(dict(record.headers)[PROVENANCE]) == ("orders", 1_767_323_045_678, "orders:4711@9")


def test_values_that_are_not_known_to_be_valid_are_checked() -> None:
    builder = event_builder()
    event = json.loads(builder.checked("1", "a", b'{"n":1}', "2020-01-01T00:00:00+02:00").value or b"")
    assert (event["subject"], event["data"], event["time"]) == ("a", {"n": 1}, "2020-01-01T00:00:00+02:00")
    assert json.loads(builder.checked("1", "a", b"1").value or b"")["time"] == "2026-01-02T03:04:05.678Z"
    for subject, data, time, fault in (
        ("", b"1", None, "'subject'"),
        ("\ud83d", b"1", None, "'subject'"),
        ("a", b"[1e400]", None, r"\[0\], byte 1: found the number 1e400"),
        ("a", b"1", "2020-01-01", "'time'"),
    ):
        with pytest.raises(Malformed, match=fault):
            builder.checked("1", subject, data, time)


def test_what_is_not_valid_becomes_a_reject_of_the_batch() -> None:
    builder, batch = event_builder(), Batch()
    builder.add(batch, "1", "a", b'{"n":1}')
    builder.add(batch, "2", "a", b"[1e400]")
    assert [json.loads(record.value or b"")["id"] for record in batch.records] == ["orders:1"]
    (reject,) = batch.rejects
    assert (reject.id, reject.value, reject.stage, reject.origin) == ("orders:2", b"[1e400]", "source", "orders:2")
    assert reject.error.startswith("2: [0], byte 1: found the number 1e400")


def test_a_percent_sign_is_a_character_like_any_other() -> None:
    builder = EventBuilder("orders", "100%b.%s", None, Frozen(), random.Random(1))
    for time in (None, b"2020-01-01T00:00:00Z"):
        event = json.loads(builder.event("1%d", "50%", b'"%x"', time).value or b"")
        assert (event["type"], event["id"], event["subject"], event["data"]) == ("100%b.%s", "orders:1%d", "50%", "%x")


def test_with_a_channel_the_channel_is_the_key() -> None:
    record = event_builder("orders.eu").event("1", "4711", b"1")
    assert record.key == b"orders.eu"
    assert json.loads(record.value or b"")["channel"] == "orders.eu"


@pytest.mark.parametrize("channel", [None, "orders.eu"])
@pytest.mark.parametrize("time", [None, b"2020-01-01T00:00:00Z"])
def test_numbered_events_are_the_same_events(channel: str | None, time: bytes | None) -> None:
    one, other = event_builder(channel), event_builder(channel)
    numbered = other.numbered('1.%d"é')
    for number in (0, 2**40):
        event = one.event(f'1.%d"é:{number}', "50%", b'"%x"', time)
        assert numbered(number, "50%", b'"%x"', time) == event
        validate(decode(event.value or b""))


def test_the_time_of_the_change_wins() -> None:
    record = event_builder().event("1", "4711", b"1", time=b"2020-01-01T00:00:00Z")
    assert json.loads(record.value or b"")["time"] == "2020-01-01T00:00:00Z"


def test_a_batch_is_one_trace_and_each_event_a_span() -> None:
    builder = event_builder()
    traces = [json.loads(builder.event(str(n), "s", b"1").value or b"")["traceparent"].split("-") for n in range(3)]
    assert len({trace for _, trace, _, _ in traces}) == 1
    assert len({span for _, _, span, _ in traces}) == 3
    builder.begin_batch()
    assert json.loads(builder.event("4", "s", b"1").value or b"")["traceparent"].split("-")[1] != traces[0][1]


@pytest.mark.parametrize(("sampled", "flags"), [(True, "01"), (False, "00")])
@pytest.mark.parametrize("time", [None, b"2020-01-01T00:00:00Z"])
def test_events_built_in_a_span_are_its_children(time: bytes | None, *, sampled: bool, flags: str) -> None:
    builder, trace = event_builder(), "4bf92f3577b34da6a3ce929d0e0e4736"
    with in_span(Span(trace, "00f067aa0ba902b7", sampled=sampled)):
        builder.begin_batch()
        made = [builder.event(str(n), "s", b"1", time) for n in range(2)]
        made.append(builder.numbered("n")(3, "s", b"1", time))
        made.append(builder.complete("4", {"subject": msgspec.Raw(b'"s"')}))
    found = {json.loads(record.value or b"")["traceparent"] for record in made}
    assert found == {f"00-{trace}-00f067aa0ba902b7-{flags}"}


def test_a_batch_counts_as_something_when_anything_is_to_be_saved() -> None:
    assert not Batch()
    assert Batch(checkpoint={"": b"1"})
    assert Batch(rejects=[Reject("1", b"", "e", "source", "o")])


@pytest.mark.parametrize("channel", [None, "orders.eu"])
def test_an_event_that_comes_with_attributes_keeps_them(channel: str | None) -> None:
    attributes = {"id": msgspec.Raw(b'"17"'), "subject": msgspec.Raw(b'"4711"'), "data_base64": msgspec.Raw(b'"AA=="')}
    record = event_builder(channel).complete("7@1", attributes)
    event = json.loads(record.value or b"")
    validate(decode(record.value or b""))
    assert (event["id"], event["source"], event["type"]) == ("17", "/sources/orders", "order.updated")
    assert event["time"] == "2026-01-02T03:04:05.678Z"
    assert event.get("channel") == channel
    assert record.key == (channel or "4711").encode()
    assert unpack_provenance(dict(record.headers)[PROVENANCE]).id == "orders:7@1"
