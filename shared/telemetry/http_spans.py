"""Spans of HTTP requests, by OpenTelemetry's semantic conventions for HTTP servers.

A request continues the trace of its header `traceparent`. No attribute holds a query string, a header or an address of
the client: those may hold tokens, or say who a person is.

Source: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server
"""

from collections.abc import Awaitable, Callable

from aiohttp import web
from opentelemetry.context import Context
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.runtime import trace
from shared.runtime.clock import Clock
from shared.telemetry.client_spans import Calls

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Routes that are asked every few seconds, and say nothing about events."""

_SERVER_ERROR = 500
_propagator = TraceContextTextMapPropagator()


class _RequestSpan:
    """Ends once: with the response, or when a stream begins."""

    def __init__(self, span: Span, calls: Calls) -> None:
        self._span = span
        self._calls = calls
        self._ended = False

    def end(self, status: int, error: str | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        self._calls.close()
        self._span.set_attribute("http.response.status_code", status)
        if status >= _SERVER_ERROR:
            self._span.set_attribute("error.type", error or str(status))
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


_SPAN = web.RequestKey("span", _RequestSpan)


def trace_requests(app: web.Application, tracer: Tracer, clock: Clock) -> None:
    """Make a span of each request to an application, but for those of probes. Call it before the application runs."""

    @web.middleware
    async def spans(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = None if resource is None else resource.canonical
        if route in _PROBES:
            return await handler(request)
        span = tracer.start_span(
            _name(request.method, route), _parent(request), SpanKind.SERVER, attributes=_attributes(request, route)
        )
        calls = Calls(tracer, set_span_in_context(span, Context()), clock)
        request[_SPAN] = ended = _RequestSpan(span, calls)
        context = span.get_span_context()
        ids, sampled = (format_trace_id(context.trace_id), format_span_id(context.span_id)), context.trace_flags.sampled
        with trace.in_span(trace.Span(*ids, sampled=sampled, calls=calls if sampled else None)):
            try:
                response = await handler(request)
            except Exception as exc:
                ended.end(_SERVER_ERROR, type(exc).__qualname__)
                raise
        ended.end(response.status)
        return response

    async def on_prepare(request: web.Request, response: web.StreamResponse) -> None:
        # A WebSocket or a stream may last for days: its request is over when it begins.
        if not isinstance(response, web.Response) and (span := request.get(_SPAN)) is not None:
            span.end(response.status)

    app.middlewares.insert(0, spans)
    app.on_response_prepare.append(on_prepare)


def _name(method: str, route: str | None) -> str:
    known = method if method in _METHODS else "HTTP"
    return known if route is None else f"{known} {route}"


def _parent(request: web.Request) -> Context:
    header = request.headers.get("traceparent")
    return Context() if header is None else _propagator.extract({"traceparent": header}, Context())


def _attributes(request: web.Request, route: str | None) -> dict[str, str]:
    found = {
        "http.request.method": request.method if request.method in _METHODS else "_OTHER",
        "url.path": request.rel_url.raw_path,
        "url.scheme": request.scheme,
        "network.protocol.version": f"{request.version.major}.{request.version.minor}",
    }
    return found if route is None else found | {"http.route": route}
