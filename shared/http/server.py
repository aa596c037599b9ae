"""The listener of a service: an aiohttp application with health, metrics, JSON errors, limits and TLS.

health = Health("system_api")
app = application(settings.listen, health)
app.router.add_post(…)
async with serve(app, settings.listen, health) as listening:
    …
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext
from typing import Annotated

from aiohttp import web
from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from pydantic import Field

from shared.errors import SettingsError
from shared.http.accepting.limits import ConnectionLimiter, ConnectionLimitOptions
from shared.http.accepting.listener import Tls, accepting, bound_sockets
from shared.http.health import Readiness
from shared.http.hosts import allowed_hosts, only_from
from shared.http.metrics import CertificateMetrics, ProcessMetrics, ReadinessCollector
from shared.http.problem import problems
from shared.http.requests import request_factory
from shared.http.tls import Certificate, TlsOptions
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks
from shared.settings import Form, Options

# aiohttp itself logs requests that are not HTTP, of which any client can send any number.
_SILENT = logging.Logger("malformed requests", level=logging.CRITICAL)  # noqa: LOG001 -- outside the tree on purpose


REQUEST_LINE_BYTES = web.AppKey("REQUEST_LINE_BYTES", int)
"""The longest request line, with the URL, that an application accepts; 8,190 bytes, if it does not say."""
_REQUEST_LINE_BYTES = 8190


class HealthOptions(Options):
    """A listener of its own for `/healthz`, `/readyz` and `/metrics`, in plain HTTP."""

    host: str = "127.0.0.1"
    """In a pod: `0.0.0.0`, with a network policy that admits the kubelet and Prometheus."""

    port: int = Field(ge=0, le=65535)
    """0 takes any free port."""


class ListenOptions(Options):
    """Where a service listens."""

    host: str = "127.0.0.1"
    """The address to listen on, by default the loopback. `0.0.0.0` and `::` stand for all addresses."""

    port: int = Field(default=8080, ge=0, le=65535)
    """0 takes any free port."""

    tls: TlsOptions | None = None
    """Without it, plain HTTP: for the loopback, or behind a proxy that terminates TLS."""

    health: HealthOptions | None = None
    """The listener of health and metrics. Without it they are on this listener, readable by every client."""

    hosts: tuple[Annotated[str, Form(r"^(\*|(\*\.)?[^*\s/]+)$", "a name, such as 'relay.example.com'")], ...] | None = (
        None
    )
    """Names in the header `Host` for which requests are answered, without a port; `*.example.com` stands for all names
    below it, and `*` for every name. By default the names of the loopback if `host` is a loopback address, and
    otherwise every name. Otherwise a page in a browser could reach a service on the loopback by a name of its own that
    it lets point there (DNS rebinding). A proxy on the same machine that passes the original name needs it here."""

    backlog: int = Field(default=1024, ge=1)
    """Connections that may wait to be accepted, so that many clients can reconnect at once."""

    body_limit: int = Field(default=1_048_576, ge=1024)
    """Bytes in the body of one request. Brokers usually limit a record to the same 1 MiB."""

    limits: ConnectionLimitOptions = ConnectionLimitOptions()
    """Limits on connections, before and between requests."""

    shutdown_timeout: float = Field(default=5.0, ge=0)
    """Seconds that requests in progress have to end when the service stops."""


class Health:
    """What `/readyz` and `/metrics` show. Services in one process share one."""

    def __init__(self, service: str) -> None:
        """`service` is a label of `trelay_build_info`."""
        self.readiness = Readiness()
        self.registry = CollectorRegistry(auto_describe=True)
        # Else each counter has a second series with the time of its creation, which no rule or dashboard uses.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.certificates = CertificateMetrics(self.registry)
        self._process = ProcessMetrics(service)
        self.registry.register(self._process)
        self.registry.register(ReadinessCollector(self.readiness))

    def _refresh(self) -> None:
        self._process.refresh()
        self.certificates.refresh()

    async def families(self) -> list[Metric]:
        """Return all metrics."""
        await asyncio.to_thread(self._refresh)
        return list(self.registry.collect())

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics in the best format that `accept` names, and its content type."""
        await asyncio.to_thread(self._refresh)
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


@dataclass(frozen=True, slots=True)
class Listening:
    """The addresses of a listener, with the ports that the system chose."""

    url: str
    health_url: str
    certificate: Certificate | None = None

    async def reload(self) -> list[str]:
        """Load the certificate again; return what was loaded. A pair that does not fit is logged and not used."""
        if self.certificate is None:
            return []
        loaded = await asyncio.to_thread(self.certificate.reload, unchanged=True)
        return [self.certificate.name] if loaded else []


def application(listen: ListenOptions, health: Health, *, reasons: bool = True) -> web.Application:
    """Return the application that a service adds its routes to.

    Without `reasons`, its `/readyz` names the parts that are missing and not why: for a listener that strangers reach.
    """
    app = web.Application(
        middlewares=[problems, only_from(allowed_hosts(listen.host, listen.hosts))], client_max_size=listen.body_limit
    )
    if listen.health is None:
        _add_health(app, health, reasons=reasons)
    return app


@asynccontextmanager
async def serve(
    app: web.Application, listen: ListenOptions, health: Health, *, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[Listening]:
    """Listen for as long as the context lasts.

    On leaving: `/readyz` answers 503; no connection is accepted; requests in progress have `shutdown_timeout` seconds;
    then the application cleans up. A health listener of its own closes last.

    Raises:
        SettingsError: the address is not available, or the certificate cannot be loaded.
    """
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(Tasks())
        certificate = None if listen.tls is None else await asyncio.to_thread(Certificate, listen.tls)
        if certificate is not None:
            tasks.keep("certificate reload", certificate.follow(clock))
            health.certificates.show(certificate.cert_file, lambda: certificate.expires_at)
        health_url = None
        if listen.health is not None:
            hosts = allowed_hosts(listen.health.host, None)
            own = web.Application(middlewares=[problems, only_from(hosts)])
            _add_health(own, health, reasons=True)
            at = (listen.health.host, listen.health.port)
            health_url = await stack.enter_async_context(_site(own, at, listen, tasks, clock, context=None))
        context = None if certificate is None else certificate.context
        at = (listen.host, listen.port)
        url = await stack.enter_async_context(_site(app, at, listen, tasks, clock, context=context))
        try:
            yield Listening(url, health_url or url, certificate)
        finally:
            health.readiness.draining = True


@asynccontextmanager
async def _site(
    app: web.Application,
    at: tuple[str, int],
    listen: ListenOptions,
    tasks: Tasks,
    clock: Clock,
    *,
    context: SSLContext | None,
) -> AsyncIterator[str]:
    # No access log: it would hold tickets from query strings, and metrics count requests better. The limiter applies
    # the timeouts, in place of aiohttp's `keepalive_timeout`.
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_SILENT,
        shutdown_timeout=listen.shutdown_timeout,
        max_line_size=app.get(REQUEST_LINE_BYTES, _REQUEST_LINE_BYTES),
        auto_decompress=False,  # `BodyReader` does
    )
    host, port = at
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        assert runner.server is not None, "made by setup"
        runner.server.request_factory = request_factory(listen.body_limit)
        limiter = ConnectionLimiter(listen.limits, runner.server, clock)
        tasks.keep(f"connection limits on port {port}", limiter.enforce())
        try:
            sockets = await bound_sockets(host, port, listen.backlog)
        except OSError as exc:
            # The text of an error with a number repeats the address.
            reason = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror or exc
            raise SettingsError(f"cannot listen on {host} port {port}: {reason}") from exc
        tls = None if context is None else Tls(context, listen.limits.header_timeout)
        bound = sockets[0].getsockname()[1]
        stack.enter_context(accepting(sockets, limiter.protocol, tasks, tls))
        name = f"[{host}]" if ":" in host else host
        yield f"{'http' if context is None else 'https'}://{name}:{bound}"


def _add_health(app: web.Application, health: Health, *, reasons: bool) -> None:
    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"alive": True}, headers=_UNCACHED)

    async def readyz(_request: web.Request) -> web.Response:
        found = health.readiness.describe(reasons=reasons)
        return web.json_response(found, status=200 if found["ready"] else 503, headers=_UNCACHED)

    async def metrics(request: web.Request) -> web.Response:
        text, content_type = await health.exposition(request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": content_type, **_UNCACHED})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)


_UNCACHED = {"Cache-Control": "no-store"}
