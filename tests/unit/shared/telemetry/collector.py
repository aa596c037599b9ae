"""A collector: an OTLP receiver over HTTP that keeps what it gets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric


class Collector:
    """Answers with `status`, after `gate` is set."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.gate = asyncio.Event()
        self.gate.set()
        self.headers: list[dict[str, str]] = []
        self.traces: list[ExportTraceServiceRequest] = []
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.logs: list[ExportLogsServiceRequest] = []
        self.arrived = asyncio.Event()

    @property
    def span_names(self) -> list[str]:
        return [
            span.name
            for request in self.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def latest_metrics(self) -> list[Metric]:
        (resource,) = self.metrics[-1].resource_metrics
        (scope,) = resource.scope_metrics
        return list(scope.metrics)

    @property
    def log_records(self) -> list[LogRecord]:
        return [
            record
            for request in self.logs
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    async def _take_logs(self, request: web.Request) -> web.Response:
        self.logs.append(ExportLogsServiceRequest.FromString(await request.read()))
        return web.Response()

    async def _take_metrics(self, request: web.Request) -> web.Response:
        self.metrics.append(ExportMetricsServiceRequest.FromString(await request.read()))
        return web.Response()

    async def _take_traces(self, request: web.Request) -> web.Response:
        # aiohttp has decoded the body by its Content-Encoding.
        body = await request.read()
        self.arrived.set()
        await self.gate.wait()
        if self.status == 200:
            self.headers.append(dict(request.headers))
            self.traces.append(ExportTraceServiceRequest.FromString(body))
        return web.Response(status=self.status)

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator["Collector"]:
        collector = cls()
        app = web.Application()
        app.router.add_post("/v1/traces", collector._take_traces)
        app.router.add_post("/v1/metrics", collector._take_metrics)
        app.router.add_post("/v1/logs", collector._take_logs)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield collector
        finally:
            collector.gate.set()
            await runner.cleanup()
