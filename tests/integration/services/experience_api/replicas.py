"""Replicas of the service on real sockets and a real PostgreSQL, with the bus in memory."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
import asyncpg
from aiohttp import WSMsgType

from services.experience_api.app import build_experience_api
from services.experience_api.registry.postgres import PostgresRegistry
from services.experience_api.settings import ExperienceSettings
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.composition.serving import RunningService
from shared.database.options import DatabaseOptions
from shared.http.server import Health

TIMEOUT = 60.0
LONG_LEASES = {"connections": {"probe_timeout": 0.5, "lease_seconds": 120}}
"""Longer than any test waits, so that it does not wait for the end of a lease."""
Headers = dict[str, str]
JSON = {"Content-Type": "application/json"}


def settings(database: DatabaseOptions, experience: dict[str, Any] | None = None) -> ExperienceSettings:
    """Return the settings of a replica: the loopback, which may push, a free port, and a fast shutdown."""
    section = {
        "listen": {"port": 0},
        "drain_delay": 0,
        "drain_within": 2,
        "connections": {"probe_timeout": 0.5},
        "delivery": {"drain": {"spread": 0}},
        "entity": {"allow": ["127.0.0.0/8"]},
        **(experience or {}),
    }
    return ExperienceSettings.model_validate({"database": database, "experience": section})


@dataclass
class Response:
    """A whole HTTP response."""

    status: int
    headers: Headers
    text: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found

    @property
    def code(self) -> str:
        """The code of a refusal."""
        return str(self.json["code"])


class Subscription:
    """The client's end of a connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def next(self) -> dict[str, Any]:
        """Return the next event."""
        async with asyncio.timeout(TIMEOUT):
            message = await self.socket.receive()
        assert message.type is WSMsgType.TEXT, (message, self.socket.close_code)
        found: dict[str, Any] = json.loads(message.data)
        return found

    async def until(self, kind: str) -> dict[str, Any]:
        """Return the next event of this type, skipping others."""
        while (event := await self.next())["type"] != kind:
            pass
        return event

    async def closed(self) -> tuple[int | None, str]:
        """Wait until the connection is closed, and return the code and the reason."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                message = await self.socket.receive()
                if message.type is WSMsgType.CLOSE:
                    return message.data, message.extra or ""
                if message.type in {WSMsgType.CLOSED, WSMsgType.ERROR}:
                    return self.socket.close_code, ""


class ReplicaClient:
    """A client of one replica, with its own sockets."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http

    @classmethod
    @asynccontextmanager
    async def of(cls, url: str) -> AsyncIterator[Self]:
        async with aiohttp.ClientSession() as http:
            yield cls(url, http)

    async def request(
        self, method: str, path: str, headers: Headers | None = None, body: bytes | None = None
    ) -> Response:
        data = None if body is None else io.BytesIO(body)
        async with self.http.request(method, self.url + path, headers=headers, data=data) as response:
            return Response(response.status, dict(response.headers), await response.text())

    async def register(self, client_id: str = "demo", secret: str = "demo") -> str:
        """Register, and return the token."""
        response = await self.request("POST", "/consumers", {"client_id": client_id, "client_secret": secret})
        assert response.status == 201, response
        return str(response.json["token"])

    async def push(self, channel: str, *numbers: int) -> None:
        """Push events with `POST /entity`."""
        for number in numbers:
            body = json.dumps({"number": number}).encode()
            response = await self.request(
                "POST", f"/entity?channel={channel}", {"Content-Type": "application/json"}, body
            )
            assert response.status == 202, response

    @asynccontextmanager
    async def connect(
        self, token: str | None = None, *, path: str = "/ws/publish", headers: Headers | None = None, **more: Any
    ) -> AsyncIterator[Subscription]:
        """Connect. The first event is `trelay.connected`."""
        lines = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        async with self.http.ws_connect(self.url + path, headers=lines, **more) as socket:
            yield Subscription(socket)

    async def upgrade(self, token: str | None = None, *, query: str = "", headers: Headers | None = None) -> Response:
        """Request the upgrade in plain HTTP, to read the response of a refusal."""
        lines = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            **({"Authorization": f"Bearer {token}"} if token else {}),
            **(headers or {}),
        }
        return await self.request("GET", f"/ws/publish{query}", lines)


@dataclass
class Replica(ReplicaClient):
    """One replica of the service, and a client of it."""

    url: str
    http: aiohttp.ClientSession
    service: RunningService
    registry: PostgresRegistry
    alerts: RecordingAlerts
    health: Health


@dataclass
class Deployment:
    """Replicas that share a bus and a database."""

    database: DatabaseOptions
    bus: MemoryBus = field(default_factory=MemoryBus)

    @asynccontextmanager
    async def replica(self, experience: dict[str, Any] | None = None, **given: Any) -> AsyncIterator[Replica]:
        """Run a replica, and yield it once it is ready."""
        async with AsyncExitStack() as stack:
            registry = given.pop("registry", None) or await stack.enter_async_context(
                PostgresRegistry.opened(self.database)
            )
            alerts, health = RecordingAlerts(), Health("test")
            options = settings(self.database, experience)
            service = await stack.enter_async_context(
                build_experience_api(options, bus=self.bus, registry=registry, alerts=alerts, health=health, **given)
            )
            http = await stack.enter_async_context(aiohttp.ClientSession())
            replica = Replica(service.listening.url, http, service, registry, alerts, health)
            await ready(replica)
            yield replica

    @asynccontextmanager
    async def sql(self) -> AsyncIterator[asyncpg.Connection]:
        """Connect to the database, to read and change it directly."""
        connection = await asyncpg.connect(self.database.url)
        try:
            yield connection
        finally:
            await connection.close()

    async def expire_tokens(self) -> None:
        """Move the last connection of every consumer to long ago."""
        async with self.sql() as database:
            await database.execute("""
                UPDATE trelay.consumers SET
                    last_seen_at = '2000-01-01',
                    tokens = (SELECT jsonb_object_agg(key, 0) FROM jsonb_object_keys(tokens) AS key)
            """)

    async def until_no_connection(self) -> None:
        """Wait until every claim has been released."""
        await self.until_connections(0)

    async def until_no_connections(self) -> None:
        """Wait until every claim has been released, of clients with several connections as well."""
        await self.until_several(0)

    async def until_several(self, count: int) -> None:
        """Wait until no more claims than these are left, of clients with several connections as well."""
        held = "SELECT (SELECT count(*) FROM trelay.connections) + (SELECT count(*) FROM trelay.extra_connections)"
        async with self.sql() as connection, asyncio.timeout(TIMEOUT):
            while await connection.fetchval(held) > count:
                await asyncio.sleep(0.005)

    async def until_connections(self, count: int) -> None:
        """Wait until no more claims than these are left."""
        async with self.sql() as connection, asyncio.timeout(TIMEOUT):
            while await connection.fetchval("SELECT count(*) FROM trelay.connections") > count:
                await asyncio.sleep(0.005)


async def ready(client: ReplicaClient) -> None:
    """Wait until the replica is ready."""
    async with asyncio.timeout(TIMEOUT):
        while (await client.request("GET", "/readyz")).status != 200:
            await asyncio.sleep(0.01)
