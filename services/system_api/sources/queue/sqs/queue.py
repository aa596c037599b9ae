"""An SQS queue: at least once, and once within the window of ids; a message is deleted after its transaction."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from services.system_api.sources.queue.closing import surely_closed
from services.system_api.sources.queue.recent_ids import RecentIds
from services.system_api.sources.queue.sqs.client import SqsClient
from services.system_api.sources.queue.sqs.connection import SqsConnection
from services.system_api.sources.queue.sqs.messages import max_receives, refuse_risks
from services.system_api.sources.queue.sqs.options import SqsSourceOptions
from services.system_api.sources.source import Checkpoint


class SqsQueue:
    """A `Broker`: one queue."""

    def __init__(self, _source: str, options: SqsSourceOptions, checkpoint: Checkpoint) -> None:
        self._options = options
        self.ledger = RecentIds(options.in_words, options.dedupe_window, checkpoint)

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._options.name

    async def probe(self) -> str:
        """Connect and look; see `Broker`."""
        async with surely_closed("client of SQS", SqsClient.open(self._options), SqsClient.close) as client:
            found = await self._inspected(client)
        kind = "FIFO" if _fifo(found) else "standard"
        return f"{kind} queue {self._options.name!r}, about {found.get('ApproximateNumberOfMessages', '?')} messages"

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Connect to nothing: a queue keeps no message that is published; see `Broker`."""
        yield None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[SqsConnection]:
        """Connect; see `Broker`."""
        async with surely_closed("connection to SQS", self._opened(), SqsConnection.close) as connection:
            yield connection

    async def _opened(self) -> SqsConnection:
        client = await SqsClient.open(self._options)
        try:
            found = await self._inspected(client)
        except BaseException:
            await client.close()
            raise
        return SqsConnection(client, self._options, fifo=_fifo(found), max_receives=max_receives(found))

    async def _inspected(self, client: SqsClient) -> dict[str, Any]:
        answer = await client.request("get_queue_attributes", AttributeNames=["All"])
        found: dict[str, Any] = answer.get("Attributes", {})
        refuse_risks(found, self._options)
        return found


def _fifo(attributes: dict[str, Any]) -> bool:
    return attributes.get("FifoQueue") == "true"
