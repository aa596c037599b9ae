"""Spans of requests, by OpenTelemetry's semantic conventions for HTTP clients, where the current task works on a span.

No attribute holds a path, a query string, a header or a body: those may hold keys, tokens and data.

Source: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from yarl import URL

from shared.runtime.trace import Attributes, client_spans, current_span

_FAILED = 400


class RequestSpan:
    """The span of one request, if it has one."""

    def __init__(self, traceparent: str | None) -> None:
        self.headers: Mapping[str, str] = {} if traceparent is None else {"traceparent": traceparent}
        """What a request sends that the other system may continue the trace of."""
        self.status: int | None = None
        """Of the response, once it is there."""


@contextmanager
def request_span(method: str, url: URL) -> Iterator[RequestSpan]:
    """Make the span of a request that the context sends."""
    work, spans = current_span(), client_spans()
    made = spans.begin(method, _attributes(method, url)) if spans is not None else None
    if made is None:
        yield RequestSpan(None if work is None else str(work))
        return
    span = RequestSpan(made.traceparent)
    error: str | None = None
    try:
        yield span
        error = str(span.status) if span.status is not None and span.status >= _FAILED else None
    except BaseException as exc:
        error = type(exc).__qualname__
        raise
    finally:
        made.end({} if span.status is None else {"http.response.status_code": span.status}, error)


def _attributes(method: str, url: URL) -> Attributes:
    return {
        "http.request.method": method,
        "url.scheme": url.scheme,
        "server.address": url.host or "",
        "server.port": url.port or 0,
    }
