"""The cluster itself: one node may be away, and nothing that was acknowledged is lost.

The tests share one, which they leave whole: it takes a quarter of a minute to start.
"""

import asyncio
from contextlib import suppress

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from tests.servers.cluster import Cluster


async def make_topic(cluster: Cluster, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=3)])
    await admin.close()
    await cluster.wait_until_whole()


async def produce(cluster: Cluster, topic: str, value: bytes) -> None:
    """Write a value until it is acknowledged: aiokafka's producer gives up when its request timeout has passed."""
    while True:
        async with AIOKafkaProducer(
            bootstrap_servers=cluster.bootstrap, acks="all", request_timeout_ms=2000
        ) as producer:
            with suppress(KafkaError):
                await producer.send_and_wait(topic, value, partition=0)
                return


async def values(cluster: Cluster, topic: str, last: bytes) -> list[bytes]:
    """Return the values up to the last, each once: one whose acknowledgement got lost was written again."""
    found: dict[bytes, None] = {}
    async with AIOKafkaConsumer(topic, bootstrap_servers=cluster.bootstrap, auto_offset_reset="earliest") as consumer:
        while last not in found:
            found[(await asyncio.wait_for(consumer.getone(), 60)).value] = None
    return list(found)


async def test_each_leader_is_killed_in_turn_and_every_acknowledged_record_stays(
    kafka_cluster: Cluster, unique_name: str
) -> None:
    cluster = kafka_cluster
    await make_topic(cluster, unique_name)
    for number in range(3):
        leader = await cluster.leader(unique_name, 0)
        leader.kill()
        await produce(cluster, unique_name, str(number).encode())
        assert await cluster.leader(unique_name, 0) is not leader
        with pytest.raises(TimeoutError, match="is not whole"):
            await cluster.wait_until_whole(timeout=0.5)
        await asyncio.to_thread(leader.start)
        await cluster.wait_until_whole()
    assert await values(cluster, unique_name, b"2") == [b"0", b"1", b"2"]


async def test_a_paused_leader_is_replaced_and_returns(kafka_cluster: Cluster, unique_name: str) -> None:
    cluster = kafka_cluster
    await make_topic(cluster, unique_name)
    leader = await cluster.leader(unique_name, 0)
    leader.pause()
    await produce(cluster, unique_name, b"meanwhile")
    leader.resume()
    await cluster.wait_until_whole()
    assert await values(cluster, unique_name, b"meanwhile") == [b"meanwhile"]


async def test_all_nodes_are_killed_at_once_and_return(kafka_cluster: Cluster, unique_name: str) -> None:
    cluster = kafka_cluster
    address = cluster.bootstrap
    await make_topic(cluster, unique_name)
    await produce(cluster, unique_name, b"kept")
    await asyncio.to_thread(cluster.kill)
    await asyncio.to_thread(cluster.start)
    assert cluster.bootstrap == address
    assert await values(cluster, unique_name, b"kept") == [b"kept"]
    assert await cluster.coordinator("transaction", "any") in cluster.nodes
