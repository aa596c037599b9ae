"""One listener: an aiohttp application with health, metrics, JSON errors, limits and TLS, opened and closed in order.

health = Health()
app = application(settings.listen, health)
app.router.add_post(…)
async with serve(app, settings.listen, health) as listening:
    …
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from pydantic import Field

from shared.clock import SYSTEM_CLOCK, Clock
from shared.errors import SettingsError
from shared.health import Readiness
from shared.metrics import ProcessMetrics, ReadinessCollector
from shared.problem import problems
from shared.reception import Door, Reception, ReceptionOptions
from shared.settings import Options
from shared.tasks import Tasks
from shared.tls import Certificate, TlsOptions

# What aiohttp logs by itself are requests that are no HTTP: anybody can send as many as he likes.
_SILENT = logging.Logger("malformed requests", level=logging.CRITICAL)  # noqa: LOG001 -- in no tree, so never heard


class HealthOptions(Options):
    """A listener of its own for `/healthz`, `/readyz` and `/metrics`, in plain HTTP."""

    host: str = "127.0.0.1"
    """Inside a pod: `0.0.0.0`, with a network policy that lets the kubelet and Prometheus in."""

    port: int = Field(ge=0, le=65535)
    """0 takes any free one."""


class ListenOptions(Options):
    """Where a service listens."""

    host: str = "127.0.0.1"
    """The address to listen on; the loopback only, unless said otherwise. `0.0.0.0` and `::` are all addresses."""

    port: int = Field(default=8080, ge=0, le=65535)
    """0 takes any free one."""

    tls: TlsOptions | None = None
    """Without a certificate, plain HTTP: for the loopback, or behind something that ends TLS."""

    health: HealthOptions | None = None
    """Where health and metrics are; none puts them beside the rest, where whoever reaches the one reads the other."""

    backlog: int = Field(default=1024, ge=1)
    """Connections that may wait to be accepted; a crowd that reconnects at once must not be turned away."""

    body_limit: int = Field(default=1_048_576, ge=1024)
    """Bytes in the body of one request. A broker's usual limit on a record is the same 1 MiB."""

    reception: ReceptionOptions = ReceptionOptions()
    """Limits on connections that have not sent a request yet."""

    stop_within: float = Field(default=5.0, ge=0)
    """Seconds that requests under way have to end when the service stops."""


class Health:
    """What `/readyz` and `/metrics` tell of. Services in one process share one."""

    def __init__(self, readiness: Readiness | None = None, registry: CollectorRegistry | None = None) -> None:
        self.readiness = readiness or Readiness()
        self.registry = registry or CollectorRegistry(auto_describe=True)
        # When each counter was made is a series beside each counter, and nobody asks.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._process = ProcessMetrics()
        self.registry.register(self._process)
        self.registry.register(ReadinessCollector(self.readiness))

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics in the best format that `accept` names, and its content type."""
        await asyncio.to_thread(self._process.refresh)
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a listener was found to be, with the ports that it was given."""

    url: str
    health_url: str


def application(listen: ListenOptions, health: Health) -> web.Application:
    """Make the application that a service adds its routes to."""
    app = web.Application(middlewares=[problems], client_max_size=listen.body_limit)
    if listen.health is None:
        _add_health(app, health)
    return app


@asynccontextmanager
async def serve(
    app: web.Application, listen: ListenOptions, health: Health, *, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[Listening]:
    """Listen for as long as the context lasts.

    On leaving: not ready any more; no new connections; the requests under way have `stop_within` seconds; then the
    application's own clean-up. Health and metrics answer until the very end.

    Raises:
        SettingsError: the address cannot be listened on, or the certificate cannot be loaded.
    """
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(Tasks())
        certificate = None if listen.tls is None else await asyncio.to_thread(Certificate, listen.tls)
        if certificate is not None:
            tasks.keep("certificate reload", certificate.follow(clock))
        health_url = None
        if listen.health is not None:
            own = web.Application(middlewares=[problems])
            _add_health(own, health)
            at = (listen.health.host, listen.health.port)
            health_url = await stack.enter_async_context(_site(own, at, listen, tasks, clock, context=None))
        context = None if certificate is None else certificate.context
        at = (listen.host, listen.port)
        url = await stack.enter_async_context(_site(app, at, listen, tasks, clock, context=context))
        try:
            yield Listening(url, health_url or url)
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
    # No access log: it would hold the tickets of query strings, and metrics count better. What aiohttp bounds by
    # `keepalive_timeout`, the reception does.
    runner = web.AppRunner(app, access_log=None, logger=_SILENT, shutdown_timeout=listen.stop_within)
    host, port = at
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        assert runner.server is not None, "made by setup"
        runner.server.request_factory = _requests(listen.body_limit)
        reception = Reception(listen.reception, runner.server, clock)
        tasks.keep(f"reception on port {port}", reception.keep_order())
        try:
            server = await asyncio.get_running_loop().create_server(
                reception.door,
                host,
                port,
                ssl=context,
                ssl_handshake_timeout=None if context is None else listen.reception.headers_within,
                backlog=listen.backlog,
            )
        except OSError as exc:
            # asyncio writes the address once more into the text of an error that has a number.
            reason = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror or exc
            raise SettingsError(f"cannot listen on {host} port {port}: {reason}") from exc
        stack.callback(server.close)
        bound = server.sockets[0].getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        yield f"{'http' if context is None else 'https'}://{name}:{bound}"


class _Request(web.Request):
    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        # aiohttp names its own version and Python's, which tells an attacker what to try. This is the only place
        # that sees every response, those to malformed requests too.
        response.headers["Server"] = "trelay"
        if isinstance(response, web.Response) and (door := _door(self.protocol)) is not None:
            door.answered()  # a stream has an end of its own
        await super()._prepare_hook(response)


def _requests(body_limit: int) -> Callable[..., web.Request]:
    def request(
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.Request:
        if (door := _door(protocol)) is not None:
            door.asks()
        loop = asyncio.get_running_loop()
        return _Request(message, payload, protocol, writer, task, loop, client_max_size=body_limit)

    return request


def _door(protocol: web.RequestHandler) -> Door | None:
    """Return the door that a connection came in by, unless it is lost, or a WebSocket by now."""
    found = None if protocol.transport is None else protocol.transport.get_protocol()
    return found if isinstance(found, Door) else None


def _add_health(app: web.Application, health: Health) -> None:
    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"alive": True}, headers=_UNCACHED)

    async def readyz(_request: web.Request) -> web.Response:
        found = health.readiness.describe()
        return web.json_response(found, status=200 if found["ready"] else 503, headers=_UNCACHED)

    async def metrics(request: web.Request) -> web.Response:
        text, content_type = await health.exposition(request.headers.get("Accept", ""))
        return web.Response(body=text, headers={"Content-Type": content_type, **_UNCACHED})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)


_UNCACHED = {"Cache-Control": "no-store"}
