"""What a broker delivers, and the connection that it comes from."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from services.system_api.sources.source import Checkpoint, Loss


class Message(NamedTuple):
    """One message, as it was delivered."""

    place: str
    """Identifies the message among all messages of its source, the same whenever it is delivered: it becomes part of
    the event's id."""
    body: bytes
    key: str = ""
    """What the broker orders or routes it by (routing key, record key, subject); empty without one."""
    headers: Mapping[str, str] = {}
    content_type: str | None = None
    time: float | None = None
    """When the broker got it, in seconds since 1970."""
    position: object = None
    """Its position in the broker, where that has one; see `Positions`."""
    partition: str = ""
    """The part of the broker that its position is in."""
    identified: bool = True
    """Whether its sender gave it an id. Two equal messages without one may be one that was delivered twice."""
    deliveries: int = 1
    """How often it was delivered, this time included; at least this often where the broker does not count. 0 where it
    does not even tell whether it was delivered before."""
    final: str | None = None
    """What the broker does with it in place of another delivery, where this one is the last: `drops it`."""
    token: object = None
    """What acknowledges this delivery; only its connection reads it."""
    fault: str | None = None
    """Why the message cannot become an event, where the connection has found that already."""
    digest: str | None = None
    """A digest of its content, where that tells its log from another one of its name."""


@dataclass(slots=True)
class Received:
    """What waited in the broker."""

    messages: Sequence[Message] = ()
    more: bool = False
    """Whether more is known to wait."""
    waiting: tuple[str, ...] = ()
    """Messages that exist and cannot be read yet, and why."""


class Connection(Protocol):
    """An open connection to a queue or topic; it is not used any more after an error."""

    async def receive(self, limit: int, max_bytes: int) -> Received:
        """Return what waits, oldest first, without waiting for more to be sent.

        At most `limit` messages, and no more once they have `max_bytes` bytes. Messages that were delivered and not
        acknowledged are delivered again by the next connection.

        Raises:
            Unavailable: the broker does not answer.
            Unauthorized: it refuses the credentials.
        """
        ...

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Tell the broker that these messages, which this connection delivered, are processed.

        Raises:
            Unavailable: the broker does not answer; it will deliver them again.
        """
        ...

    async def wait(self) -> None:
        """Return when there may be a message. A cancelled wait loses none.

        It returns as well when the connection is lost: `receive` then raises the reason.
        """
        ...


@runtime_checkable
class RewindableConnection(Protocol):
    """Connections to a log, which keeps its messages, so that a source can be rewound in it."""

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the checkpoint of a place; see `Rewinding`. Raises what that does."""
        ...


class Ledger(Protocol):
    """Which messages have been published or lost, and what the checkpoint holds of that."""

    losses: list[Loss]
    """What was found to be lost and is in no batch yet. A connection adds to it, and may fail before its next answer:
    the one after it continues behind the loss and does not find it again."""

    def published(self, message: Message) -> bool:
        """Return whether this message was added before, in this run or before the checkpoint."""
        ...

    def add(self, message: Message) -> None:
        """Note that this message is published with the next checkpoint."""
        ...

    def take_checkpoint(self) -> dict[str, bytes | None]:
        """Return the parts of the checkpoint that have changed since the last call."""
        ...


class Broker(Protocol):
    """Connects to one queue or topic."""

    @property
    def name(self) -> str:
        """The queue or topic in words, for errors: `queue 'orders'`."""
        ...

    @property
    def ledger(self) -> Ledger:
        """What has been published so far; a new connection continues after it."""
        ...

    async def probe(self) -> str:
        """Connect and look, change nothing, and return in a few words what is there. Raises what `connected` does."""
        ...

    def looking(self) -> AbstractAsyncContextManager[RewindableConnection | None]:
        """Connect beside the source that runs, to find places in the log; None where the broker keeps none.

        Nothing is changed that another connection depends on. Raises what `connected` does.
        """
        ...

    def connected(self) -> AbstractAsyncContextManager[Connection]:
        """Connect, and continue after what the ledger says is published.

        Raises (on entering):
            Unavailable: the broker does not answer, or the queue does not exist yet.
            Unauthorized: it refuses the credentials.
            SettingsError: the queue is one that loses messages, or the checkpoint is of another one.
        """
        ...
