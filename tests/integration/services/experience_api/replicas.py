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

from services.experience_api.app import ExperienceApi, build_experience_api
from services.experience_api.registry.postgres import PostgresRegistry
from services.experience_api.settings import ExperienceSettings
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.database.engine import create_engine
from shared.database.options import DatabaseOptions
from shared.web import Health

PATIENCE = 45.0
Headers = dict[str, str]


def settings(database: DatabaseOptions, experience: dict[str, Any] | None = None) -> ExperienceSettings:
    """The settings of a replica: the loopback, a free port, and quick to leave."""
    section = {
        "listen": {"port": 0},
        "drain_within": 2,
        "connections": {"answer_within": 0.5},
        "delivery": {"drain": {"spread": 0}},
        **(experience or {}),
    }
    return ExperienceSettings.model_validate({"database": database, "experience": section})


@dataclass
class Answer:
    """An answer in HTTP, read to its end."""

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
        async with asyncio.timeout(PATIENCE):
            message = await self.socket.receive()
        assert message.type is WSMsgType.TEXT, (message, self.socket.close_code)
        found: dict[str, Any] = json.loads(message.data)
        return found

    async def until(self, kind: str) -> dict[str, Any]:
        """Return the next event of this type, passing over others."""
        while (event := await self.next())["type"] != kind:
            pass
        return event

    async def closed(self) -> tuple[int | None, str]:
        """Wait for the end, and return its code and its reason."""
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await self.socket.receive()
                if message.type is WSMsgType.CLOSE:
                    return message.data, message.extra or ""
                if message.type in {WSMsgType.CLOSED, WSMsgType.ERROR}:
                    return self.socket.close_code, ""


class Knocker:
    """A client of one replica, with sockets of its own."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http

    @classmethod
    @asynccontextmanager
    async def of(cls, url: str) -> AsyncIterator[Self]:
        async with aiohttp.ClientSession() as http:
            yield cls(url, http)

    async def ask(self, method: str, path: str, headers: Headers | None = None, body: bytes | None = None) -> Answer:
        data = None if body is None else io.BytesIO(body)
        async with self.http.request(method, self.url + path, headers=headers, data=data) as response:
            return Answer(response.status, dict(response.headers), await response.text())

    async def register(self, client_id: str = "demo", secret: str = "demo") -> str:
        """Register, and return the token."""
        answer = await self.ask("POST", "/consumers", {"client_id": client_id, "client_secret": secret})
        assert answer.status == 201, answer
        return str(answer.json["token"])

    async def push(self, channel: str, *numbers: int) -> None:
        """Put events on the bus, by `POST /entity`."""
        for number in numbers:
            body = json.dumps({"number": number}).encode()
            answer = await self.ask("POST", f"/entity?channel={channel}", {"Content-Type": "application/json"}, body)
            assert answer.status == 202, answer

    @asynccontextmanager
    async def connect(
        self, token: str | None = None, *, path: str = "/ws/publish", headers: Headers | None = None, **more: Any
    ) -> AsyncIterator[Subscription]:
        """Connect, and pass over nothing: the first event is `trelay.connected`."""
        lines = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        async with self.http.ws_connect(self.url + path, headers=lines, **more) as socket:
            yield Subscription(socket)

    async def knock(self, token: str | None = None, *, query: str = "", headers: Headers | None = None) -> Answer:
        """Ask for the upgrade in plain HTTP, to read the answer of a refusal."""
        lines = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            **({"Authorization": f"Bearer {token}"} if token else {}),
            **(headers or {}),
        }
        return await self.ask("GET", f"/ws/publish{query}", lines)


@dataclass
class Replica(Knocker):
    """One replica of the service, and a client of it."""

    url: str
    http: aiohttp.ClientSession
    service: ExperienceApi
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
        """Run one, until it is ready."""
        async with AsyncExitStack() as stack:
            engine = create_engine(self.database)
            stack.push_async_callback(engine.dispose)
            registry = given.pop("registry", None) or PostgresRegistry(engine, self.database)
            alerts, health = RecordingAlerts(), Health()
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
        """Look into the database, and change it by hand."""
        connection = await asyncpg.connect(self.database.url)
        try:
            yield connection
        finally:
            await connection.close()

    async def until_nobody_is_connected(self) -> None:
        """Wait until every claim has been released."""
        async with self.sql() as connection, asyncio.timeout(PATIENCE):
            while await connection.fetchval("SELECT count(*) FROM trelay.connections"):
                await asyncio.sleep(0.005)


async def ready(knocker: Knocker) -> None:
    """Wait until the replica says so."""
    async with asyncio.timeout(PATIENCE):
        while (await knocker.ask("GET", "/readyz")).status != 200:
            await asyncio.sleep(0.01)
