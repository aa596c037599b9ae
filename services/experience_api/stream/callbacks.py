"""What the stream reports and does not handle itself, and its counts for metrics."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from aiohttp import web

from services.experience_api.hub.audience import Subscriber
from services.experience_api.hub.close_codes import CloseReason
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.hub import HubCounts
from services.experience_api.stream.catching_up.replay_writer import CatchUpCounts
from services.experience_api.stream.control_events import Receipt
from services.experience_api.stream.feed import OnDelay
from services.experience_api.stream.snapshots.sending import SnapshotCounts
from services.experience_api.wire.deflate import CompressionCounts
from shared.bus.protocol import Record
from shared.telemetry.tracing import NO_TRACING, Tracing


def _ignore(_record: Record) -> None:
    """Do nothing."""


def _ignore_connection(_connection: Connection) -> None:
    """Do nothing."""


def _ignore_start(_connection: Connection, _cursor: bytes) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Called by the stream of a replica."""

    on_refused: Callable[[Subscriber], None]
    """A consumer sent a message without permission, and its connection is being closed. Must not block."""
    on_inbound: Callable[[Subscriber, bytes], Awaitable[Receipt]]
    """A client with permission sent a message. Its next one is read once this returns, after it is stored.

    Raises:
        Unavailable: it is not known whether it was stored.
        TooLarge: it was not.
    """
    on_delay: OnDelay
    """One observation for each batch that was written."""
    tracing: Tracing = NO_TRACING
    """Gets each read of the publish topic that was written."""
    on_first: Callable[[Record], None] = _ignore
    """Gets the first record of each such read."""
    on_start: Callable[[Connection, bytes], None] = _ignore_start
    """Gets each connection once it was written its first frame, and no event yet, with the cursor of that frame."""
    on_end: Callable[[Connection], None] = _ignore_connection
    """Gets it again when nothing more is written to it."""


class Counts(NamedTuple):
    """Counts and gauges for metrics."""

    hub: HubCounts
    catch_up: CatchUpCounts
    catching_up: int
    connections: int
    history_bytes: int
    malformed: int
    """Records on the publish topic that are not valid events."""
    compression: CompressionCounts
    compressed_connections: int
    conflated_connections: int
    snapshots: SnapshotCounts
    receiving_snapshots: int
    """Connections that receive a snapshot."""


class Served(NamedTuple):
    """How a connection ended."""

    response: web.StreamResponse
    """What the aiohttp handler has to return."""
    reason: CloseReason
