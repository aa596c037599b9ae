"""Decides which messages a connection sends, and what becomes of each: sans-I/O, and safe in threads.

Each message has an id, with which the relay stores it once. What was not acknowledged when a connection ended is sent
again over the next one, in the same order.
"""

import base64
import re
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from trelay_client.attaching import Attached
from trelay_client.errors import MessageRejected, MessageUnanswered, SendQueueFull, UsageError

ACCEPTED, REJECTED = "trelay.accepted", "trelay.rejected"
MAY_NOT_SEND, TOO_LARGE = "may-not-send", "too-large"
_ID = re.compile(r"[!-~]{1,255}")


class Receipt(NamedTuple):
    """A message that is stored."""

    message_id: str
    event_id: str
    """The id of its event on the inbound topic."""


@dataclass(slots=True, eq=False)
class Message:
    """One message, until it is acknowledged, rejected or withdrawn."""

    message_id: str
    text: str
    size: int
    """Bytes of the text."""
    result: Future[Receipt] = field(default_factory=Future)
    open: bool = True


class Messages(Attached):
    """The messages of one sender, across all connections of its subscription."""

    def __init__(self, limit: int, limit_bytes: int) -> None:
        """At most `limit` messages of together `limit_bytes` wait for their acknowledgement."""
        super().__init__("sender")
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._unsent: deque[Message] = deque()
        self._sent: dict[int, Message] = {}
        self._number = 0
        self._count = 0
        self._bytes = 0
        self._connected = False
        self._largest: int | None = None

    @property
    def waiting(self) -> bool:
        """Whether a message waits for its acknowledgement."""
        return self._count > 0

    def end(self, reason: str) -> None:
        with self._lock:
            self.disconnected()
            self._ended = reason
            for message in self._unsent:
                self._fail(message, MessageUnanswered(message.message_id, reason))
            self._unsent.clear()

    def add(self, data: Any, message_id: str) -> Message:
        """Add a message: bytes, or anything that is JSON.

        Raises:
            UsageError: the id or the data cannot be sent.
            SendQueueFull: too many messages wait.
                MessageRejected: the client may not send, or the message is larger than the relay permits.
            MessageUnanswered: the subscription has ended.
        """
        encoded = _encode(data, message_id)
        message = Message(message_id, encoded.decode(), len(encoded))
        message.result.set_running_or_notify_cancel()  # only `withdraw` takes it back
        with self._lock:
            if self._count >= self._limit or self._bytes + message.size > self._limit_bytes:
                raise SendQueueFull(
                    f"{self._count} messages of {self._bytes} bytes wait for their acknowledgement; expected at most "
                    f"{self._limit} messages of {self._limit_bytes} bytes: send more when some are acknowledged"
                )
            if self._ended is not None:
                raise MessageUnanswered(message_id, self._ended)
            if (refused := self._refused(message)) is not None:
                raise refused
            self._count += 1
            self._bytes += message.size
            self._unsent.append(message)
            self._notify()
        return message

    def withdraw(self, message: Message) -> None:
        """Do not send a message again: its sender does not wait any more."""
        with self._lock:
            self._close(message)

    def connected(self, largest: int | None, listener: Callable[[], None]) -> None:
        """Begin a connection; `largest` is the bytes of a message that the relay takes, None if none may be sent.

        `listener` is called, in any thread, when there is something to send.
        """
        with self._lock:
            self._connected, self._largest, self._number = True, largest, 0
            self._listen(listener)
            for message in self._unsent:
                if (refused := self._refused(message)) is not None:
                    self._fail(message, refused)

    def disconnected(self) -> None:
        """End a connection: what it has not acknowledged is sent again over the next one."""
        with self._lock:
            self._connected = False
            self._disconnect()
            self._unsent.extendleft(reversed(self._sent.values()))
            self._sent.clear()

    def next(self) -> str | None:
        """Return the next message to send over this connection; None if there is none."""
        with self._lock:
            while self._connected and self._unsent:
                message = self._unsent.popleft()
                if message.open:
                    self._number += 1
                    self._sent[self._number] = message
                    return message.text
            return None

    def received(self, event: dict[str, Any]) -> bool:
        """Handle a control event; return whether it is the answer to a message."""
        kind, data = event.get("type"), event.get("data")
        if kind not in {ACCEPTED, REJECTED} or not isinstance(data, dict):
            return False
        with self._lock:
            message = self._sent.pop(data.get("message", 0), None)
            if message is None:
                return False
            if kind == REJECTED:
                code, detail = str(data.get("code")), str(data.get("detail"))
                self._fail(message, MessageRejected(message.message_id, code, detail))
            elif self._close(message):
                message.result.set_result(Receipt(message.message_id, str(data.get("event"))))
        return True

    def _refused(self, message: Message) -> MessageRejected | None:
        if not self._connected:
            return None
        if self._largest is None:
            detail = "the client may not send; expected the permission to send (`trelay clients set ID --may-send`)"
            return MessageRejected(message.message_id, MAY_NOT_SEND, detail)
        if message.size > self._largest:
            detail = f"found {message.size} bytes; expected at most {self._largest}, with the id and the form around it"
            return MessageRejected(message.message_id, TOO_LARGE, detail)
        return None

    def _fail(self, message: Message, error: Exception) -> None:
        if self._close(message):
            message.result.set_exception(error)

    def _close(self, message: Message) -> bool:
        was_open, message.open = message.open, False
        if was_open:
            self._count -= 1
            self._bytes -= message.size
        return was_open


def _encode(data: Any, message_id: str) -> bytes:
    if _ID.fullmatch(message_id) is None:
        raise UsageError(f"found the message id {message_id!r}; expected 1 to 255 visible ASCII characters")
    form: dict[str, Any] = {"type": "trelay.message", "id": message_id}
    try:
        if isinstance(data, bytes | bytearray | memoryview):
            form["data_base64"] = base64.b64encode(data).decode()
        else:
            form["data"] = data
        return msgspec.json.encode(form)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise UsageError(f"message {message_id} cannot be encoded as JSON: {exc}") from exc
