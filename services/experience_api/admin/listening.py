"""Serves the admin API on its own port, for as long as the service runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from services.experience_api.admin.authorized import Authorized
from services.experience_api.admin.clients import ClientAdmin
from services.experience_api.admin.consumers import ConsumerAdmin
from services.experience_api.admin.documents import add_documents
from services.experience_api.admin.explain_routes import ExplainRoutes
from services.experience_api.admin.options import AdminOptions
from services.experience_api.admin.routes import AdminRoutes
from services.experience_api.admin.stream_routes import StreamRoutes
from services.experience_api.explain.explaining import Explainer
from services.experience_api.http.push import Pushes
from services.experience_api.registry.protocol import Registry
from services.experience_api.sessions.connections import Connections
from services.experience_api.sessions.dependencies import Stream
from services.experience_api.sessions.late_bound import LateBound
from services.experience_api.sessions.requested import URL_BYTES
from shared.bus.topics import TopicsOptions
from shared.composition.bus import BusConnection
from shared.http.hosts import allowed_hosts, only_from
from shared.http.operators import Operators
from shared.http.problem import problems
from shared.http.server import REQUEST_LINE_BYTES, Health, Listening, serve
from shared.runtime.clock import Clock

SETTING = "experience.admin.operators"


@dataclass(frozen=True, slots=True)
class AdminParts:
    """What the API works on."""

    registry: Registry
    connections: Connections
    stream: LateBound[Stream]
    pushes: Pushes
    health: Health
    clock: Clock
    topics: TopicsOptions
    bus: BusConnection


def admin_application(options: AdminOptions, parts: AdminParts) -> web.Application:
    """Return the application of the API. Health and metrics are not on it."""
    authorized = Authorized(Operators(options.operators, SETTING, parts.clock))
    listen = options.listen
    app = web.Application(
        middlewares=[problems, only_from(allowed_hosts(listen.host, listen.hosts))], client_max_size=listen.body_limit
    )
    app[REQUEST_LINE_BYTES] = URL_BYTES  # for channels, and for the state of an explanation
    clients = ClientAdmin(parts.registry)
    consumers = ConsumerAdmin(parts.registry, parts.connections.details)
    AdminRoutes(clients, consumers, authorized).add_to(app)
    StreamRoutes(parts.stream, parts.pushes, authorized, parts.clock).add_to(app)
    explainer = Explainer(parts.topics, parts.registry, parts.connections.details, parts.clock)
    ExplainRoutes(explainer, lambda: parts.bus.connected, authorized, parts.clock).add_to(app)
    add_documents(app)
    return app


@asynccontextmanager
async def admin_listening(options: AdminOptions | None, parts: AdminParts) -> AsyncIterator[Listening | None]:
    """Serve the API while the context is open, if the settings turn it on.

    Raises:
        SettingsError: the listener cannot be set up as the settings say.
    """
    if options is None:
        yield None
        return
    app = admin_application(options, parts)
    async with serve(app, options.listen, parts.health, clock=parts.clock) as listening:
        yield listening
