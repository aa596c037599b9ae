"""What is special about SQS: visibility, receipts, FIFO groups, and ids that recognise a repeat.

The contract suite of sources tests the rest (tests/contracts/source/test_sqs.py).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from services.system_api.sources.queue.sqs.client import SqsClient
from services.system_api.sources.queue.sqs.opening import SqsSourceKind
from shared.errors import SettingsError, Unavailable
from tests.contracts.source.test_sqs import KEYS, sqs_client
from tests.integration.services.system_api.sources.queue.reading import Reading
from tests.servers.certificates import SERVER, Certificates
from tests.servers.sqs import SqsServer, sqs_server


@pytest.fixture
async def client(sqs: SqsServer) -> AsyncIterator[Any]:
    async with sqs_client(sqs) as client:
        yield client


@pytest.fixture
def reading(sqs: SqsServer) -> Callable[..., Reading]:
    def make(url: str, **settings: Any) -> Reading:
        given = {"kind": "sqs", "url": url, "region": "eu-central-1", "type": "t", "long_poll": 1, **KEYS}
        given |= {"network": {"allow": ["127.0.0.1"]}} | settings
        return Reading(SqsSourceKind.model_validate(given))

    return make


async def create(client: Any, name: str, **attributes: str) -> str:
    return str((await client.create_queue(QueueName=name, Attributes=attributes))["QueueUrl"])


async def send(client: Any, url: str, *bodies: str, **more: Any) -> None:
    for body in bodies:
        unique = {"MessageDeduplicationId": body} if "MessageGroupId" in more else {}
        await client.send_message(QueueUrl=url, MessageBody=body, **unique, **more)


async def left(client: Any, url: str) -> int:
    """Return how many messages the queue has, hidden ones included."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = await client.get_queue_attributes(QueueUrl=url, AttributeNames=names)
    return sum(int(answer["Attributes"][name]) for name in names)


async def test_what_is_missing_or_refused_is_reported(
    client: Any, sqs: SqsServer, reading: Callable[..., Reading], unique_name: str
) -> None:
    with pytest.raises(Unavailable, match="SQS queue 'nowhere' does not exist"):
        await reading(f"{sqs.url}/123456789012/nowhere").once()
    with pytest.raises(Unavailable, match="SQS queue 'q'"):
        await reading("http://127.0.0.1:1/1/q").once()
    url = await create(client, unique_name, MessageRetentionPeriod="60")
    with pytest.raises(SettingsError, match=r"^system.sources.s.url: .* accept: \[retention\]"):
        await reading(url).once()
    assert "standard queue" in await reading(url, accept=["retention"]).options.probe("s")


async def test_a_name_with_an_address_that_is_not_allowed_is_refused(
    sqs: SqsServer, reading: Callable[..., Reading]
) -> None:
    url = f"http://localhost:{sqs.port}/123456789012/q"
    with pytest.raises(SettingsError, match=r"^system.sources.s.url: localhost .* is a loopback address; .*network"):
        await reading(url, network={"allow": []}).once()
    with pytest.raises(Unavailable, match="does not exist"):
        await reading(url, network={"allow": ["localhost"]}).once()


async def test_the_certificate_of_a_server_is_verified(
    reading: Callable[..., Reading], certificates: Certificates
) -> None:
    context = sqs_server(certificates)
    server = await asyncio.to_thread(context.__enter__)
    try:
        url = f"https://{SERVER}:{server.port}/123456789012/q"
        allowed = {"network": {"allow": [SERVER, "127.0.0.1"]}}
        trusting = {"tls": {"ca_file": certificates.ca}} | allowed
        with pytest.raises(Unavailable, match="does not exist"):
            await reading(url, **trusting).once()
        with pytest.raises(Unavailable, match=r"the certificate of the server is not accepted: .*127\.0\.0\.1"):
            await reading(url.replace(SERVER, "127.0.0.1"), **trusting).once()
        with pytest.raises(Unavailable, match="the certificate of the server is not accepted"):
            await reading(url, **allowed).once()
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def test_a_message_whose_deletion_fails_is_deleted_later(
    client: Any, reading: Callable[..., Reading], unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await create(client, unique_name)
    await send(client, url, "1")
    send_request, failures = SqsClient.request, [Unavailable("no answer")]

    async def request(self: SqsClient, operation: str, **arguments: Any) -> dict[str, Any]:
        if operation == "delete_message_batch" and failures:
            raise failures.pop()
        return await send_request(self, operation, **arguments)

    monkeypatch.setattr(SqsClient, "request", request)
    read = reading(url, visibility_timeout=2)
    async with read.opened() as source, asyncio.timeout(60):
        while failures:
            with contextlib.suppress(Unavailable):
                await read.step(source)
        assert read.numbers == [1]
        while await left(client, url):
            await asyncio.sleep(0.05)  # until it would be hidden again


async def test_messages_are_deleted_after_they_are_published_and_a_group_keeps_its_order(
    client: Any, reading: Callable[..., Reading], unique_name: str
) -> None:
    url = await create(client, f"{unique_name}.fifo", FifoQueue="true")
    await send(client, url, *(str(number) for number in range(25)), MessageGroupId="g")
    read = reading(url)
    await read.until(25)
    assert read.numbers == list(range(25))
    assert {event["subject"] for event in read.events} == {"g"}
    assert await left(client, url) == 0


async def test_what_was_published_and_not_deleted_is_dropped_when_it_comes_again(
    client: Any, reading: Callable[..., Reading], unique_name: str
) -> None:
    url = await create(client, unique_name)
    await send(client, url, "1", "2")
    read = reading(url)
    async with read.opened() as source, asyncio.timeout(60):
        while len(read.events) < 2:
            batch = await source.poll(10)
            for unsettled in source._unsettled:
                unsettled.messages.clear()  # it stops before they are deleted
            await read.commit(source, batch)
    assert await left(client, url) == 2
    await read.restarted().once()
    assert sorted(read.numbers) == [1, 2]
    assert await left(client, url) == 0


async def test_a_message_that_is_held_for_long_stays_hidden(
    client: Any, reading: Callable[..., Reading], unique_name: str
) -> None:
    url = await create(client, unique_name)
    await send(client, url, "1")
    read = reading(url, visibility_timeout=4)
    async with read.opened() as source, asyncio.timeout(60):
        while not (batch := await source.poll(10)).records:
            await read.commit(source, batch)
        for _ in range(5):
            found = await client.receive_message(QueueUrl=url, WaitTimeSeconds=1)
            assert "Messages" not in found
        await read.commit(source, batch)
    assert await left(client, url) == 0


async def test_a_message_that_kills_its_process_is_parked_and_no_other(
    client: Any, reading: Callable[..., Reading], unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await create(client, unique_name)
    await send(client, url, "1", "2", "3", "4", "5")
    read = reading(url, max_deliveries=3)
    await read.until_parked(b"4", 4, monkeypatch)
    assert read.redelivered >= 1
    assert sorted(read.numbers) == [1, 2, 3, 5]
    assert await left(client, url) == 0
