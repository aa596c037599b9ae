"""The topics of a deployment: their names and how each is kept."""

from typing import Annotated

from pydantic import Field

from shared.bus.protocol import TopicOptions
from shared.settings import Form, Options


class TopicsOptions(Options):
    """What the operator may say of all topics at once; the kinds differ as `TopicsOptions.all` shows."""

    prefix: Annotated[str, Form(r"^[A-Za-z0-9_-]{1,64}$", "1 to 64 letters, digits, '_' and '-'")] = "trelay"
    """Lets two deployments share one cluster."""

    partitions: int = Field(default=4, ge=1, le=1000)
    """Of the ingest and of the publish topic: how many replicas of the process layer can share the work."""

    replicas: int = Field(default=1, ge=1)
    """Copies of each partition, Kafka only. Three in production: with one, a lost disk is lost events."""

    retention_hours: float = Field(default=168.0, gt=0)
    """How long a subscriber may stay away and still resume without a gap."""

    dead_letter_retention_hours: float = Field(default=24 * 90, gt=0)
    """How long what could not be processed waits for somebody to look at it."""

    @property
    def ingest(self) -> str:
        """Events as read from upstream; keyed by subject."""
        return f"{self.prefix}.ingest"

    @property
    def publish(self) -> str:
        """Events for subscribers; keyed by channel, so that a channel has one order."""
        return f"{self.prefix}.publish"

    @property
    def checkpoints(self) -> str:
        """How far each source has been read; keyed by source, compacted."""
        return f"{self.prefix}.checkpoints"

    @property
    def dead_letter(self) -> str:
        """What could not be processed; keyed by id."""
        return f"{self.prefix}.dead-letter"

    @property
    def inbound(self) -> str:
        """What permitted consumers send back; keyed by client."""
        return f"{self.prefix}.inbound"

    def all(self) -> list[TopicOptions]:
        """Return every topic, as it is to be made or checked."""

        def topic(name: str, partitions: int, hours: float | None, *, compact: bool = False) -> TopicOptions:
            return TopicOptions(
                name=name, partitions=partitions, replicas=self.replicas, retention_hours=hours, compact=compact
            )

        return [
            topic(self.ingest, self.partitions, self.retention_hours),
            topic(self.publish, self.partitions, self.retention_hours),
            topic(self.checkpoints, 1, None, compact=True),
            topic(self.dead_letter, 1, self.dead_letter_retention_hours),
            topic(self.inbound, self.partitions, self.retention_hours),
        ]
