"""The settings of the stream, composed of what its parts declare."""

from pydantic import Field

from services.experience_api.hub.hub import HubOptions
from services.experience_api.stream.catching_up.catch_up import CatchUpOptions
from services.experience_api.stream.drain import DrainOptions
from services.experience_api.stream.feed import FeedOptions
from services.experience_api.stream.history import HistoryOptions
from services.experience_api.wire.deflate import CompressionOptions
from shared.settings import Options


class DeliveryOptions(Options):
    """How events reach subscribers."""

    feed: FeedOptions = FeedOptions()
    """How the publish topic is read."""
    history: HistoryOptions = HistoryOptions()
    """The latest events, kept in memory for subscribers that resume."""
    hub: HubOptions = HubOptions()
    """The open connections."""
    compression: CompressionOptions = CompressionOptions()
    """How events are compressed for WebSocket clients that offer it."""
    catch_up: CatchUpOptions = CatchUpOptions()
    """How subscribers catch up from a cursor."""
    drain: DrainOptions = DrainOptions()
    """How subscribers are sent to other replicas when the service stops."""

    close_timeout: float = Field(default=5.0, gt=0)
    """Seconds a peer has to answer a Close frame, or to read something of what precedes it, before its connection is
    dropped."""

    inbound_bytes: int = Field(default=256 * 1024, ge=1)
    """Bytes of the largest message accepted from a client that may send."""

    inbound_per_second: float = Field(default=100.0, ge=0.1)
    """Messages a second that are accepted of one connection. Further ones are read later."""
