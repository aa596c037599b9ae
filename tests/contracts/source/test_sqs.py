"""Queues of SQS, on moto's server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiobotocore.session import get_session

from services.system_api.sources.queue import closing
from services.system_api.sources.queue.sqs import connection
from services.system_api.sources.queue.sqs.opening import SqsSourceKind
from tests.contracts.source.suite import SourceContract
from tests.contracts.source.upstream import COMMON, line, record
from tests.servers.proxy import Proxy
from tests.servers.sqs import SqsServer

KEYS = {"access_key_id": "key", "secret_access_key": "secret"}


@contextlib.asynccontextmanager
async def sqs_client(server: SqsServer) -> AsyncIterator[Any]:
    context = get_session().create_client(
        "sqs",
        region_name="eu-central-1",
        endpoint_url=server.url,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    async with context as client:
        yield client


class SqsUpstream:
    exactly_once = False
    """A standard queue keeps no order."""

    def __init__(self, proxy: Proxy, client: Any, url: str) -> None:
        self.client = client
        self.url = url
        self.outage = proxy.outage
        self.slow = proxy.slow
        path = url.partition("//")[2].partition("/")[2]
        self.settings: dict[str, Any] = {
            "url": f"http://127.0.0.1:{proxy.port}/{path}",
            "region": "eu-central-1",
            "network": {"allow": ["127.0.0.1"]},
        }

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, server: SqsServer, name: str) -> AsyncIterator["SqsUpstream"]:
        async with Proxy.before("127.0.0.1", server.port) as proxy, sqs_client(server) as client:
            created = await client.create_queue(QueueName=name)
            yield cls(proxy, client, created["QueueUrl"])
            # What goes on in the background, the long poll of a closed connection above all, ends before its loop.
            while background := {*connection._draining, *closing._closing}:
                await asyncio.wait(background)
            await client.delete_queue(QueueUrl=created["QueueUrl"])

    def options(self) -> SqsSourceKind:
        return SqsSourceKind.model_validate(
            {
                **COMMON,
                **KEYS,
                "kind": "sqs",
                "visibility_timeout": 4,
                "long_poll": 1,
                "subject": {"header": "k"},
                "connect_timeout": 2,
                **self.settings,
            }
        )

    async def write(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            key = {"StringValue": record(number)["k"], "DataType": "String"}
            await self.client.send_message(
                QueueUrl=self.url, MessageBody=line(number).decode(), MessageAttributes={"k": key}
            )

    async def write_poison(self) -> None:
        await self.client.send_message(QueueUrl=self.url, MessageBody="{no json")


class TestSqs(SourceContract):
    interruptions = 6
    """Each takes the client longer than those of the other brokers."""

    @pytest.fixture
    async def upstream(self, sqs: SqsServer, unique_name: str) -> AsyncIterator[SqsUpstream]:
        async with SqsUpstream.opened(sqs, unique_name) as upstream:
            yield upstream
