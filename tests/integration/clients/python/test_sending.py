"""The Python client sends over a line that breaks: each message is stored once, in its order."""

import asyncio
import threading
from contextlib import aclosing

import pytest

from tests.integration.clients.sent import SECRET, add_sender, line_to, stored
from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment
from trelay_client import (
    BlockingSender,
    ClientCredentials,
    MessageRejected,
    Receipt,
    Sender,
    events,
    subscribe,
)

pytestmark = pytest.mark.timeout(180)
SENSOR = ClientCredentials("sensor", SECRET)
MESSAGES = 30
CUTS = (5, 15)


class Program:
    """Sends amid what it receives, and counts what is acknowledged."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self.arrived = asyncio.Event()

    async def run(self, url: str) -> None:
        sender = Sender()
        async with aclosing(subscribe(url, SENSOR, sender=sender)) as frames:
            await anext(frames)
            window = [asyncio.ensure_future(self._send(sender, number)) for number in range(MESSAGES)]
            await asyncio.gather(*window)

    async def acknowledged(self, count: int) -> None:
        async with asyncio.timeout(TIMEOUT):
            while len(self.receipts) < count:
                self.arrived.clear()
                await self.arrived.wait()

    async def _send(self, sender: Sender, number: int) -> None:
        self.receipts.append(await sender.send(number, f"reading-{number}", timeout=TIMEOUT))
        self.arrived.set()


async def test_each_message_is_stored_once_over_a_line_that_is_cut(deployment: Deployment) -> None:
    async with deployment.replica() as replica, line_to(replica) as (line, url):
        await add_sender(replica)
        program = Program()
        async with asyncio.TaskGroup() as group:
            group.create_task(program.run(url))
            for cut in CUTS:
                await program.acknowledged(cut)
                async with line.outage():
                    pass
        assert await stored(deployment, MESSAGES) == list(range(MESSAGES))
    assert len({receipt.event_id for receipt in program.receipts}) == MESSAGES


async def test_the_largest_message_is_stored_and_a_larger_one_is_rejected_before_it_is_sent(
    deployment: Deployment,
) -> None:
    limit = 2_000
    async with deployment.replica({"delivery": {"inbound_bytes": limit}}) as replica:
        await add_sender(replica)
        sender = Sender()
        async with asyncio.timeout(TIMEOUT), aclosing(subscribe(replica.url, SENSOR, sender=sender)) as frames:
            await anext(frames)
            around = len('{"type":"trelay.message","id":"a","data":""}')
            with pytest.raises(MessageRejected, match=f"found {limit + 1} bytes; expected at most {limit}"):
                await sender.send("x" * (limit + 1 - around), "a")
            await sender.send("x" * (limit - around), "a")
            with pytest.raises(MessageRejected) as rejected:
                await sender.send("y", "a")
        assert rejected.value.code == "idempotency-key-reused"
        assert await stored(deployment, 1) == ["x" * (limit - around)]


async def test_a_client_that_may_not_send_stays_connected(deployment: Deployment) -> None:
    async with deployment.replica() as replica:
        sender = Sender()
        demo = ClientCredentials("demo", "demo")
        async with asyncio.timeout(TIMEOUT), aclosing(subscribe(replica.url, demo, sender=sender)) as frames:
            await anext(frames)
            with pytest.raises(MessageRejected, match="may not send"):
                await sender.send("a")
            await replica.push("orders", 1)
            assert (await anext(frames)).event["data"] == {"number": 1}


async def test_a_program_without_asyncio_sends_from_its_loop_and_from_a_thread(deployment: Deployment) -> None:
    def program(url: str) -> list[Receipt]:
        sender, receipts = BlockingSender(), []
        thread = threading.Thread(target=lambda: receipts.append(sender.send("from a thread", timeout=TIMEOUT)))
        thread.start()
        for frame in events(url, SENSOR, sender=sender):
            if frame.own:
                receipts.append(sender.send("from the loop", timeout=TIMEOUT))
                thread.join()
                break
        return receipts

    async with deployment.replica() as replica:
        await add_sender(replica)
        assert len(await asyncio.to_thread(program, replica.url)) == 2
        assert set(map(str, await stored(deployment, 2))) == {"from a thread", "from the loop"}
