"""The processes that the suite kills: `python -m tests.contracts.bus.children JOB`, with the order on standard input.

Each prints a line when it has made progress, so that the suite knows when to kill it.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import uvloop
from pydantic import TypeAdapter

from shared.bus.connect import BusOptions, connect
from shared.bus.protocol import Bus
from shared.database.options import DatabaseOptions
from shared.errors import Unavailable
from tests.contracts.bus.groups import copy
from tests.contracts.bus.records import hand_over, writing

SIZE = 100
"""Records of one transaction of `write`."""


async def write(bus: Bus, order: Mapping[str, Any]) -> None:
    """Write numbered transactions as fast as the bus takes them."""
    async with bus.writer(order["name"]) as writer:
        for number in range(1_000_000):
            report(str(number))
            await hand_over(writer, writing(order["topic"], *(f"{number}.{part}" for part in range(SIZE))))


async def copy_partitions(bus: Bus, order: Mapping[str, Any]) -> None:
    """Copy a topic exactly once, as a member of a group, until it is killed."""
    worker = partial(copy, bus, order["group"], order["target"])
    async with bus.join(order["topic"], order["group"], order["member"], worker):
        report("joined")
        await asyncio.Event().wait()


def report(line: str) -> None:
    print(line, flush=True)


async def main(job: str) -> None:
    order = json.loads(sys.stdin.readline())
    options: BusOptions = TypeAdapter(BusOptions).validate_python(order["bus"])
    database = DatabaseOptions.model_validate(order["database"])
    while True:
        try:
            async with connect(options, database) as bus:
                await {"write": write, "copy": copy_partitions}[job](bus, order)
        except Unavailable as exc:
            logging.getLogger(__name__).warning("%s", exc)
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(process)d %(asctime)s %(levelname)s %(name)s %(message)s")
    uvloop.run(main(sys.argv[1]))  # as the services do
