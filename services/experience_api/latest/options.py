"""Settings of the latest events."""

from typing import Annotated

from pydantic import Field, StringConstraints

from services.experience_api.hub.patterns import LENGTH_LIMIT, PATTERN, check_pattern
from shared.settings import Checked, Options

ChannelPattern = Annotated[str, Checked(check_pattern, PATTERN, LENGTH_LIMIT)]
TypePattern = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class LatestOptions(Options):
    """The latest event of each subject, kept in the database: subscribers ask for it with `snapshot=true`."""

    channels: tuple[ChannelPattern, ...] = Field(min_length=1, max_length=100)
    """Channels, or patterns of them, whose latest events are kept. There is one row for each subject: leave out those
    on which every event has a subject of its own."""

    deleted_types: tuple[TypePattern, ...] = Field(default=("*.deleted",), max_length=100)
    """Types of the events that say that their subject is gone, so that a snapshot does not have it. `*` stands for any
    characters."""

    interval: float = Field(default=0.25, ge=0.01, le=60)
    """Seconds between two writes to the database. A backlog is copied without pauses."""

    readers: int = Field(default=4, ge=1, le=100)
    """Connections to the database that snapshots are read with, of one replica. Subscribers wait for their turn, and
    live ones do not wait for them."""

    page_bytes: int = Field(default=128 * 1024, ge=1024)
    """Bytes read for one subscriber before the next one's turn, and the memory that one subscriber uses meanwhile. A
    larger event is read alone."""
