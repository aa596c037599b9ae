"""TLS to each broker, with certificates on both sides: a broker that is trusted is read, another one is refused."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

import aio_pika
import aiomqtt
import nats as nats_client
import pytest
from nats.js.api import StreamConfig
from pydantic import TypeAdapter
from redis.asyncio import Redis

from services.system_api.sources.queue.address import TlsOptions, tls_context
from services.system_api.sources.registry import AnySource
from shared.bus.connect import connect
from shared.bus.kafka import KafkaOptions
from shared.bus.protocol import Outgoing, TopicOptions
from shared.database.options import DatabaseOptions
from shared.errors import Unavailable
from tests.integration.services.system_api.sources.queue.reading import Reading
from tests.servers.certificates import SERVER, Certificates
from tests.servers.kafka import SecuredKafka
from tests.servers.missing import skipping_without
from tests.servers.mosquitto import MosquittoServer
from tests.servers.nats import NatsServer, nats_server
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer

BODY = b'{"n": 1}'


class Broker(NamedTuple):
    """A broker with one queue or topic."""

    settings: dict[str, Any]
    """Those of the source, without certificates; `{host}` stands for the host."""
    send: Callable[[], Awaitable[object]]
    """Sends one message."""

    def reading(self, certificates: Mapping[str, Any], host: str = SERVER) -> Reading:
        given = {
            name: value.format(host=host) if name in {"url", "servers"} else value
            for name, value in self.settings.items()
        }
        tls = dict(certificates) if given["kind"] == "kafka" else {"tls": dict(certificates)}
        return Reading(TypeAdapter(AnySource).validate_python({"type": "t", "connect_timeout": 5} | given | tls))


@asynccontextmanager
async def redis_broker(server: RedisServer, name: str, _: Certificates) -> AsyncIterator[Broker]:
    async with Redis.from_url(server.url) as client:
        await client.xgroup_create(name, "owner", mkstream=True)
        settings = {"kind": "redis", "url": f"rediss://{{host}}:{server.tls_port}", "stream": name, "field": "data"}
        yield Broker(settings, lambda: client.xadd(name, {"data": BODY}))
        await client.delete(name)


@asynccontextmanager
async def mqtt_broker(server: MosquittoServer, name: str, _: Certificates) -> AsyncIterator[Broker]:
    async with aiomqtt.Client("127.0.0.1", server.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        settings = {"kind": "mqtt", "url": f"mqtts://{{host}}:{server.tls_port}", "topics": [name], "client_id": name}
        yield Broker(settings, lambda: client.publish(name, BODY, qos=1))


@asynccontextmanager
async def rabbitmq_broker(server: RabbitmqServer, name: str, _: Certificates) -> AsyncIterator[Broker]:
    async with await aio_pika.connect(server.url) as connection, connection.channel() as channel:
        await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})
        settings = {"kind": "rabbitmq", "url": f"amqps://guest:guest@{{host}}:{server.tls_port}/", "queue": name}
        yield Broker(settings, lambda: channel.default_exchange.publish(aio_pika.Message(BODY), name))
        await channel.queue_delete(name)


@asynccontextmanager
async def nats_broker(server: NatsServer, name: str, certificates: Certificates) -> AsyncIterator[Broker]:
    context = await asyncio.to_thread(
        tls_context, TlsOptions.model_validate(certificates.of_client, context={"folder": certificates.ca.parent})
    )
    client = await nats_client.connect(server.url.replace("127.0.0.1", SERVER), tls=context)
    jetstream = client.jetstream()
    await jetstream.add_stream(StreamConfig(name=name, subjects=[name]))
    settings = {"kind": "nats", "url": f"tls://{{host}}:{server.port}", "stream": name}
    yield Broker(settings, lambda: jetstream.publish(name, BODY))
    await client.close()


@asynccontextmanager
async def kafka_broker(server: SecuredKafka, name: str, _: Certificates) -> AsyncIterator[Broker]:
    async with connect(KafkaOptions(servers=server.bootstrap), DatabaseOptions()) as bus, bus.appender() as appender:
        await bus.ensure_topics([TopicOptions(name=name, partitions=1)])
        settings = {"kind": "kafka", "servers": f"{{host}}:{server.tls_port}", "security_protocol": "SSL"}
        yield Broker(settings | {"topics": [name]}, lambda: appender.append(name, [Outgoing(b"k", BODY)]))


BROKERS: dict[str, tuple[str, Callable[[Any, str, Certificates], AbstractAsyncContextManager[Broker]]]] = {
    "redis": ("redis", redis_broker),
    "mqtt": ("mosquitto", mqtt_broker),
    "rabbitmq": ("rabbitmq", rabbitmq_broker),
    "nats": ("secured_nats", nats_broker),
    "kafka": ("secured_kafka", kafka_broker),
}
"""By kind of the source: the fixture of the server, and what makes a queue or topic on it."""


@pytest.fixture(scope="module")
def secured_nats(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[NatsServer]:
    files = {"cert": certificates.server, "key": certificates.server_key, "cacert": certificates.ca}
    arguments = ["--tlsverify", *(f"--tls{name}={path}" for name, path in files.items())]
    with skipping_without("NATS", request.config), nats_server(*arguments) as server:
        yield server


@pytest.fixture(params=list(BROKERS))
async def broker(request: pytest.FixtureRequest, unique_name: str, certificates: Certificates) -> AsyncIterator[Broker]:
    fixture, opened = BROKERS[request.param]
    async with opened(request.getfixturevalue(fixture), unique_name, certificates) as broker:
        yield broker


async def test_a_broker_and_a_client_that_trust_each_other(broker: Broker, certificates: Certificates) -> None:
    reading = broker.reading(certificates.of_client)
    assert await reading.once() == []
    await broker.send()
    await reading.until(1)
    assert reading.numbers == [{"n": 1}]


async def test_a_certificate_with_another_name_is_refused(broker: Broker, certificates: Certificates) -> None:
    reading = broker.reading(certificates.of_client, "127.0.0.1")
    with pytest.raises(Unavailable, match=r"certificate is not valid for '127\.0\.0\.1'.*ca_file"):
        await reading.once()


async def test_a_certificate_of_an_unknown_authority_is_refused(broker: Broker, certificates: Certificates) -> None:
    reading = broker.reading(certificates.of_client | {"ca_file": certificates.unknown_ca})
    with pytest.raises(Unavailable, match=r"(self-signed certificate|unable to get local issuer).*ca_file"):
        await reading.once()


async def test_a_client_without_a_certificate_is_refused(broker: Broker, certificates: Certificates) -> None:
    with pytest.raises(Unavailable, match=r"(certificate required|client certificate).*cert_file"):
        await broker.reading({"ca_file": certificates.ca}).once()
