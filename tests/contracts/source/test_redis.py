"""Streams of Redis, on a real server."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from services.system_api.sources.queue.redis.opening import RedisSourceKind
from tests.contracts.source.suite import SourceContract
from tests.contracts.source.upstream import COMMON, line, record
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer


class RedisUpstream:
    exactly_once = True

    def __init__(self, proxy: Proxy, client: Redis, stream: str) -> None:
        self.client = client
        self.stream = stream
        self.outage = proxy.outage
        self.slow = proxy.slow
        self.settings: dict[str, Any] = {"url": f"redis://127.0.0.1:{proxy.port}", "field": "data"}

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, server: RedisServer, stream: str) -> AsyncIterator["RedisUpstream"]:
        async with Proxy.before("127.0.0.1", server.port) as proxy, Redis.from_url(server.url) as client:
            await client.xgroup_create(stream, "owner", mkstream=True)
            yield cls(proxy, client, stream)
            await client.delete(stream)

    def options(self) -> RedisSourceKind:
        return RedisSourceKind.model_validate(
            {**COMMON, "kind": "redis", "stream": self.stream, "subject": {"header": "k"}, **self.settings}
        )

    async def write(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            await self.client.xadd(self.stream, {"data": line(number), "k": record(number)["k"]})

    async def write_poison(self) -> None:
        await self.client.xadd(self.stream, {"data": "{no json"})


class TestRedis(SourceContract):
    @pytest.fixture
    async def upstream(self, redis: RedisServer, unique_name: str) -> AsyncIterator[RedisUpstream]:
        async with RedisUpstream.opened(redis, unique_name) as upstream:
            yield upstream
