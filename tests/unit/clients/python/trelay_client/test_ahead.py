import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from trelay_client import Frame, MessageUnanswered, UsageError
from trelay_client.ahead import read_ahead
from trelay_client.messages import Messages


class Stream:
    """Yields frames, and counts them."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.read = 0
        self.closed = False
        self._count = count
        self._error = error

    async def frames(self) -> AsyncGenerator[Frame, None]:
        try:
            for number in range(self._count):
                self.read += 1
                yield Frame("x", {"id": number}, None)
            if self._error is not None:
                raise self._error
            await asyncio.Event().wait()
        finally:
            self.closed = True


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(2_000):
        await asyncio.sleep(0)


async def test_a_hundred_frames_are_read_ahead_and_more_while_a_message_waits() -> None:
    stream, messages = Stream(1_000), Messages(10, 10_000)
    async with aclosing(read_ahead(stream.frames(), [messages])) as frames:
        assert (await anext(frames)).event == {"id": 0}
        await settled()
        assert stream.read == 101
        message = messages.add("a", "a")
        await settled()
        assert stream.read == 1_000
        messages.withdraw(message)
        assert [(await anext(frames)).event["id"] for _ in range(999)] == list(range(1, 1_000))
    assert stream.closed


async def test_what_was_read_ahead_comes_before_the_error() -> None:
    stream, messages = Stream(3, ValueError("disabled")), Messages(10, 10_000)
    async with aclosing(read_ahead(stream.frames(), [messages])) as frames:
        assert (await anext(frames)).event == {"id": 0}
        await settled()
        with pytest.raises(MessageUnanswered, match="the subscription has ended: disabled"):
            messages.add("a", "a")
        assert [(await anext(frames)).event["id"] for _ in range(2)] == [1, 2]
        with pytest.raises(ValueError, match="disabled"):
            await anext(frames)
    messages.add("b", "b")  # another subscription may follow


async def test_a_sender_of_another_subscription_is_refused() -> None:
    messages = Messages(10, 10_000)
    async with aclosing(read_ahead(Stream(1).frames(), [messages])) as frames:
        await anext(frames)
        with pytest.raises(UsageError, match="another subscription"):
            await anext(read_ahead(Stream(1).frames(), [messages]))
        message = messages.add("a", "a")
        assert message.open, "the first one goes on"
