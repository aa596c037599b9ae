"""Spans of requests, by the semantic conventions for HTTP clients."""

import pytest
from opentelemetry.trace import SpanKind
from yarl import URL

from shared.http.client.spans import request_span
from shared.telemetry.tracing import NO_TRACING
from tests.unit.shared.telemetry.test_parents import PARENT
from tests.unit.shared.telemetry.tracers import MemorySpans

URL_WITH_KEY = URL("https://api.example:8443/customers/s3cret?token=s3cret")


def test_a_request_names_its_server_and_neither_path_nor_query() -> None:
    spans = MemorySpans()
    with spans.tracing().following([PARENT], {}), request_span("GET", URL_WITH_KEY) as span:
        span.status = 200
    (made,) = spans.ended
    assert (made.name, made.kind) == ("GET", SpanKind.CLIENT)
    assert made.attributes == {
        "http.request.method": "GET",
        "url.scheme": "https",
        "server.address": "api.example",
        "server.port": 8443,
        "http.response.status_code": 200,
    }
    assert made.context is not None
    assert span.headers == {"traceparent": f"{PARENT[:36]}{made.context.span_id:016x}-01"}
    assert "s3cret" not in made.to_json()


@pytest.mark.parametrize(("status", "error"), [(404, "404"), (503, "503")])
def test_a_status_from_400_on_is_an_error(status: int, error: str) -> None:
    spans = MemorySpans()
    with spans.tracing().following([PARENT], {}), request_span("POST", URL_WITH_KEY) as span:
        span.status = status
    (made,) = spans.ended
    assert (made.attributes or {})["error.type"] == error


def test_a_request_without_a_response_names_the_kind_of_its_error() -> None:
    spans = MemorySpans()

    def failing() -> None:
        with spans.tracing().following([PARENT], {}), request_span("GET", URL_WITH_KEY):
            raise ConnectionRefusedError("s3cret")

    with pytest.raises(ConnectionRefusedError):
        failing()
    (made,) = spans.ended
    assert (made.attributes or {})["error.type"] == "ConnectionRefusedError"
    assert "s3cret" not in made.to_json()


def test_without_a_span_the_trace_of_the_event_goes_on_and_without_an_event_none() -> None:
    with NO_TRACING.following([PARENT], {}), request_span("GET", URL_WITH_KEY) as span:
        assert span.headers == {"traceparent": PARENT}
    with request_span("GET", URL_WITH_KEY) as span:
        assert not span.headers
