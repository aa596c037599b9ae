"""The shapes of spans, by the semantic conventions for messaging."""

from collections import Counter

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from shared.errors import Unavailable
from shared.runtime.trace import current_span
from tests.unit.shared.telemetry.test_parents import OTHER, PARENT, TRACE, Valued, event
from tests.unit.shared.telemetry.tracers import MemorySpans

SECRET = "s3cret"


def test_a_poll_is_the_span_in_which_its_events_are_created() -> None:
    spans = MemorySpans()
    with spans.tracing("system_api").poll("orders") as poll:
        inside = current_span()
        poll.found(3, 1)
    assert current_span() is None
    (span,) = spans.ended
    assert (span.name, span.kind, span.parent) == ("poll orders", SpanKind.PRODUCER, None)
    assert span.attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "poll",
        "messaging.operation.type": "create",
        "messaging.batch.message_count": 3,
        "trelay.source": "orders",
        "trelay.rejects": 1,
    }
    assert inside is not None
    assert span.context is not None
    assert str(inside) == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"
    resource = span.resource.attributes
    assert (resource["service.name"], resource["service.instance.id"]) == ("system_api", "n")
    assert resource["service.version"]


def test_a_poll_that_finds_nothing_has_no_span() -> None:
    spans = MemorySpans()
    with spans.tracing().poll("orders") as poll:
        poll.found(0, 0)
    assert not spans.ended


def test_a_poll_that_fails_names_the_kind_of_the_error_and_not_its_text() -> None:
    spans = MemorySpans()
    with pytest.raises(Unavailable), spans.tracing().poll("orders"):
        raise Unavailable(f"connection refused: {SECRET}")
    (span,) = spans.ended
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "Unavailable"
    assert SECRET not in span.to_json()


def test_a_poll_that_is_not_sampled_marks_its_events_so() -> None:
    spans = MemorySpans()
    with spans.tracing(ratio=0).poll("orders") as poll:
        inside = current_span()
        poll.found(1, 0)
    assert str(inside).endswith("-00")
    assert not spans.ended


def test_what_follows_an_event_is_a_child_of_its_span() -> None:
    spans = MemorySpans()
    tracing = spans.tracing()
    records = [event(PARENT), event(PARENT), Valued(None)]
    tracing.sent("trelay.ingest", records, 0.25)
    tracing.processed("trelay.ingest", 3, "trelay.process", tracing.parents(records), 0.5)
    tracing.delivered("trelay.publish", records, 40, 0.125)
    found = {span.name: span for span in spans.ended}
    assert {name: span.kind for name, span in found.items()} == {
        "send trelay.ingest": SpanKind.CLIENT,
        "process trelay.ingest": SpanKind.CONSUMER,
        "deliver trelay.publish": SpanKind.CONSUMER,
    }
    for span in found.values():
        assert span.parent is not None
        assert span.context is not None
        assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT.split("-")[2])
        assert span.context.trace_id == span.parent.trace_id
        assert not span.links
    assert found["process trelay.ingest"].attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "trelay.ingest",
        "messaging.destination.partition.id": "3",
        "messaging.consumer.group.name": "trelay.process",
        "messaging.batch.message_count": 2,
    }
    delivered = found["deliver trelay.publish"]
    assert delivered.attributes is not None
    assert delivered.attributes["trelay.frames"] == 40
    assert delivered.end_time is not None
    assert delivered.start_time is not None
    assert delivered.end_time - delivered.start_time == 125_000_000


def test_a_batch_of_several_traces_has_a_span_in_each_and_its_own_which_is_linked() -> None:
    spans = MemorySpans()
    other = OTHER.replace(TRACE, "1" * 32)
    spans.tracing().sent("trelay.ingest", [event(PARENT), event(other), event(other)], 0.1)
    own, first, second = spans.ended
    assert own.parent is None
    assert own.context is not None
    assert [link.context.trace_id for link in own.links] == [int(TRACE, 16), int("1" * 32, 16)]
    assert [link.context.span_id for span in (first, second) for link in span.links] == [own.context.span_id] * 2
    counts = [span.attributes and span.attributes["messaging.batch.message_count"] for span in spans.ended]
    assert counts == [3, 1, 2]


def test_events_that_are_not_sampled_have_no_spans() -> None:
    spans = MemorySpans()
    spans.tracing().processed("trelay.ingest", 0, "g", Counter(), 0.1)
    spans.tracing().sent("trelay.ingest", [event(PARENT[:-1] + "0")], 0.1)
    assert not spans.ended


def test_no_payload_is_in_a_span() -> None:
    spans = MemorySpans()
    value = event(PARENT).value or b""
    spans.tracing().delivered("trelay.publish", [Valued(value.replace(b'"data":1', b'"data":"s3cret"'))], 1, 0.1)
    assert spans.ended
    assert not [span for span in spans.ended if SECRET in span.to_json()]
