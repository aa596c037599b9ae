"""When a connection to SQS says that more waits; requests are answered by the test."""

import asyncio
import itertools
from typing import Any

import pytest

from services.system_api.sources.queue.message import Received
from services.system_api.sources.queue.sqs import connection as module
from services.system_api.sources.queue.sqs.client import SqsClient
from services.system_api.sources.queue.sqs.connection import SqsConnection
from services.system_api.sources.queue.sqs.opening import SqsSourceKind

OPTIONS = SqsSourceKind.model_validate(
    {"kind": "sqs", "url": "https://sqs.eu-central-1.amazonaws.com/1/q", "type": "t", "long_poll": 10}
)


class Client(SqsClient):
    """Keeps each request to receive until the test answers it; all others succeed."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[tuple[int, asyncio.Future[int]]] = asyncio.Queue()
        self.released: list[tuple[str, int]] = []
        """The messages whose visibility was changed, and for how many seconds they are hidden from then on."""
        self._numbers = itertools.count()
        self._unheeded = set()

    async def request(self, operation: str, **arguments: Any) -> dict[str, Any]:
        if operation == "change_message_visibility_batch":
            self.released += [(each["ReceiptHandle"], each["VisibilityTimeout"]) for each in arguments["Entries"]]
        if operation != "receive_message":
            return {}
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.requests.put_nowait((arguments["WaitTimeSeconds"], answer))
        numbers = [str(next(self._numbers)) for _ in range(await answer)]
        return {"Messages": [{"MessageId": each, "ReceiptHandle": each, "Body": each} for each in numbers]}

    async def answer(self, count: int) -> int:
        """Answer the oldest request with so many messages; return for how many seconds it was to wait for one."""
        wait, answer = await self.requests.get()
        answer.set_result(count)
        return wait

    async def close(self) -> None:
        while not self.requests.empty():
            await self.answer(0)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(module, "_ARRIVAL", 0.01)
    return Client()


async def closed(connection: SqsConnection, client: Client) -> None:
    await connection.close()
    await client.close()


async def all_of(connection: SqsConnection) -> Received:
    return await connection.receive(100, 1_000_000)


async def test_an_open_request_is_no_reason_to_ask_again_at_once(client: Client) -> None:
    connection = SqsConnection(client, OPTIONS, fifo=True)
    assert await client.answer(10) == 10
    received = await all_of(connection)
    assert (len(received.messages), received.more) == (10, True)
    # Full answers are followed by a short poll, so that its answer tells whether there are more.
    next_ = asyncio.create_task(all_of(connection))
    assert await client.answer(0) == 0
    received = await next_
    assert (len(received.messages), received.more, received.waiting) == (0, False, ())
    changed = asyncio.create_task(connection.wait())
    assert await client.answer(3) == 10
    await changed
    received = await all_of(connection)
    assert (len(received.messages), received.more) == (3, False)
    await closed(connection, client)


async def test_a_slow_answer_after_a_full_one_is_waited_for(client: Client) -> None:
    connection = SqsConnection(client, OPTIONS, fifo=True)
    await client.answer(10)
    await all_of(connection)
    next_ = asyncio.create_task(all_of(connection))
    done, _ = await asyncio.wait([next_], timeout=0.05)
    assert not done, "it would say that the queue is empty"
    await client.answer(2)
    assert len((await next_).messages) == 2
    received = await all_of(connection)
    assert (len(received.messages), received.more) == (0, False)
    await closed(connection, client)


async def test_an_answer_that_cannot_be_read_is_reported(client: Client) -> None:
    """Nothing would arrive any more, and nobody would know."""

    async def request(_operation: str, **_arguments: Any) -> dict[str, Any]:
        return {"Messages": [{"Body": "1"}]}

    client.request = request  # type: ignore[method-assign, assignment]
    connection = SqsConnection(client, OPTIONS, fifo=True)
    async with asyncio.timeout(60):
        await connection.wait()
        with pytest.raises(KeyError, match="ReceiptHandle"):
            await all_of(connection)
    await connection.close()
    await asyncio.gather(*module._draining)


async def test_what_is_released_is_not_released_again_by_the_request_that_is_still_open(client: Client) -> None:
    """The next connection may hold it by then: a message would become visible while it is processed."""
    connection = SqsConnection(client, OPTIONS, fifo=False)
    await client.answer(2)
    assert len((await all_of(connection)).messages) == 2
    while client.requests.empty():
        await asyncio.sleep(0)
    await connection.close()
    assert client.released == [("0", 0), ("1", 0)]
    await client.answer(1)
    await asyncio.gather(*module._draining)
    assert client.released == [("0", 0), ("1", 0), ("2", 0)]
