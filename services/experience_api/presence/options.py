"""Settings of presence."""

from pydantic import Field

from shared.settings import Options


class PresenceOptions(Options):
    """The channel `trelay.presence`, which says who has connected and who has left."""

    enabled: bool = False
    """Whether it is published. Clients receive it whose channels include it, as `**` does."""

    left_after: float = Field(default=30.0, ge=0)
    """Seconds after the end of a replica's lease until its connections count as left: it was killed, or cannot reach
    the database. A replica that is back later ends those connections, whose clients connect again."""
