"""The process that the fixed cost of `subscribers` is compared with: a consumer of aiokafka that drops what it reads.

Answers each line on its standard input with the nanoseconds of CPU that it has taken.
"""

import asyncio
import sys
import time

import uvloop
from aiokafka import AIOKafkaConsumer


async def main(servers: str, topic: str) -> None:
    """Consume a topic from its end on, for as long as there are lines."""
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=servers, isolation_level="read_committed", enable_auto_commit=False
    ) as consumer:

        async def drop() -> None:
            while True:
                await consumer.getmany(timeout_ms=60_000)

        dropping = asyncio.create_task(drop())
        while await asyncio.to_thread(sys.stdin.readline):
            print(time.process_time_ns(), flush=True)
        dropping.cancel()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
