"""aiokafka's producer as cheaply as it can be had exactly once: what the bare loops write with."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer

BARE_BATCH = 512 * 1024


@asynccontextmanager
async def bare_producer(servers: str) -> AsyncIterator[AIOKafkaProducer]:
    """Run one with a transactional id of its own for as long as the context lasts."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=uuid.uuid4().hex, max_batch_size=BARE_BATCH)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()
