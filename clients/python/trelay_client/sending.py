"""Sends messages over the connection of a subscription, and waits until each is stored."""

import asyncio
import uuid
from typing import Any

from trelay_client.errors import MessageUnanswered
from trelay_client.messages import Messages, Receipt

LIMIT, LIMIT_BYTES = 1_000, 16 * 1024 * 1024
"""Messages that wait for their acknowledgement."""
TIMEOUT = 60.0


class Sender:
    """Sends from a program with asyncio. Give it to `subscribe` or `resume`, whose connection it uses.

    A message is sent when that connection is open. The subscription reads ahead while a message waits, so a program may
    send amid its `async for`.
    """

    def __init__(self, limit: int = LIMIT, limit_bytes: int = LIMIT_BYTES) -> None:
        """At most `limit` messages of together `limit_bytes` wait for their acknowledgement."""
        self.messages = Messages(limit, limit_bytes)

    async def send(self, data: Any, message_id: str | None = None, *, timeout: float = TIMEOUT) -> Receipt:
        """Send bytes or anything that is JSON, and return once it is stored.

        Lost connections are survived: the message is sent again with its id, and stored once. An id of your own makes
        that hold across restarts of your program too, for as long as the relay keeps ids (24 hours by default).

        Raises:
            MessageRejected: it is not stored, and would be rejected again.
            MessageUnanswered: nothing is known after `timeout` seconds, or the subscription has ended.
            SendQueueFull: too many messages wait; this one was not sent.
            UsageError: the id or the data cannot be sent.
        """
        message = self.messages.add(data, message_id or str(uuid.uuid4()))
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.wrap_future(message.result)
        except TimeoutError:
            raise MessageUnanswered(message.message_id, _late(timeout)) from None
        finally:
            self.messages.withdraw(message)


class BlockingSender:
    """Sends from a program without asyncio. Give it to `events`, whose connection it uses; any thread may send."""

    def __init__(self, limit: int = LIMIT, limit_bytes: int = LIMIT_BYTES) -> None:
        """At most `limit` messages of together `limit_bytes` wait for their acknowledgement."""
        self.messages = Messages(limit, limit_bytes)

    def send(self, data: Any, message_id: str | None = None, *, timeout: float = TIMEOUT) -> Receipt:
        """Send as `Sender.send` does: block until the message is stored, and raise the same errors."""
        message = self.messages.add(data, message_id or str(uuid.uuid4()))
        try:
            return message.result.result(timeout)
        except TimeoutError:
            raise MessageUnanswered(message.message_id, _late(timeout)) from None
        finally:
            self.messages.withdraw(message)


def _late(timeout: float) -> str:
    return f"no answer within {timeout:g} s"
