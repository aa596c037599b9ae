"""The topics of a deployment: their names and how each is kept."""

from typing import Annotated

from pydantic import Field

from shared.bus.protocol import RECORD_LIMIT, TopicOptions
from shared.settings import Form, Options

_TAKEOVERS_HOURS = 24.0
_STATUS_HOURS = 1.0
_WATERMARKS_HOURS = 1.0

# A frame is an event with the member `"cursor":"…",`; see `services/experience_api/wire/cursor.py`.
_CURSOR_MEMBER = 12
_CURSOR_BYTES = 8
_LONGEST_OFFSET = 9
"""Bytes of an offset in a cursor, before base64."""


class TopicsOptions(Options):
    """Settings of all topics; `TopicsOptions.all` shows how the topics differ."""

    prefix: Annotated[str, Form(r"^[A-Za-z0-9_-]{1,64}$", "1 to 64 letters, digits, '_' and '-'")] = "trelay"
    """Prefix of the names of topics, groups and transactional ids. Give each deployment its own to share a cluster."""

    partitions: int = Field(default=4, ge=1, le=1000)
    """Partitions of the ingest, publish and inbound topics: the most replicas of the process layer that share the
    work. Cannot be changed later."""

    replicas: int = Field(default=1, ge=1)
    """Copies of each partition, Kafka only. Use 3 in production: with 1, the loss of a disk loses events."""

    retention_hours: float = Field(default=168.0, gt=0)
    """Hours that events are kept: how long a subscriber can be disconnected and still resume without a gap."""

    dead_letter_retention_hours: float = Field(default=24 * 90, gt=0)
    """Hours that dead letters are kept."""

    audit_retention_hours: float = Field(default=24 * 90, gt=0)
    """Hours that the audit of connections is kept."""

    largest_frame: int = Field(default=1_048_576, ge=65_536, le=RECORD_LIMIT)
    """Bytes of the largest message to a subscriber: an event with its cursor. Larger events are refused where they
    enter: `POST /entity` answers 413, sources and pipelines send them to the dead letter. Several client libraries
    accept 1 MiB unless told otherwise. `experience.listen.body_limit` limits what is pushed at once as well."""

    @property
    def event_limit(self) -> int:
        """Bytes of the largest event for subscribers."""
        cursor = _CURSOR_BYTES + _LONGEST_OFFSET * self.partitions
        return self.largest_frame - _CURSOR_MEMBER - (cursor + 2) // 3 * 4

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
        """How far each source was read; keyed by source, compacted."""
        return f"{self.prefix}.checkpoints"

    @property
    def state(self) -> str:
        """The state of pipelines, in the partition of the input that it was made from; compacted."""
        return f"{self.prefix}.state"

    @property
    def dead_letter(self) -> str:
        """Events and input that could not be processed; keyed by id."""
        return f"{self.prefix}.dead-letter"

    @property
    def decisions(self) -> str:
        """What operators decided on dead letters; keyed by the name of the letter, compacted."""
        return f"{self.prefix}.dead-letter-decisions"

    @property
    def inbound(self) -> str:
        """What consumers with the permission to send have sent; keyed by client."""
        return f"{self.prefix}.inbound"

    @property
    def takeovers(self) -> str:
        """Connections that one replica of the experience layer has taken over from another; keyed by connection."""
        return f"{self.prefix}.takeovers"

    @property
    def pipelines(self) -> str:
        """What operators ask of pipelines, and what partitions have carried out; compacted."""
        return f"{self.prefix}.pipelines"

    @property
    def process_status(self) -> str:
        """What each replica of the process layer does; keyed by replica."""
        return f"{self.prefix}.process-status"

    @property
    def watermarks(self) -> str:
        """Up to when each source has been read, and where its events are; keyed by source."""
        return f"{self.prefix}.watermarks"

    @property
    def audit(self) -> str:
        """What connections were written, where `experience.audit` is set; keyed by client."""
        return f"{self.prefix}.audit"

    @property
    def process_group(self) -> str:
        """The consumer group of the process layer."""
        return f"{self.prefix}.process"

    def all(self) -> list[TopicOptions]:
        """Return the options of every topic."""

        def topic(name: str, partitions: int, hours: float | None, *, compact: bool = False) -> TopicOptions:
            return TopicOptions(
                name=name, partitions=partitions, replicas=self.replicas, retention_hours=hours, compact=compact
            )

        return [
            topic(self.ingest, self.partitions, self.retention_hours),
            topic(self.publish, self.partitions, self.retention_hours),
            topic(self.checkpoints, 1, None, compact=True),
            topic(self.state, self.partitions, None, compact=True),
            topic(self.pipelines, 1, None, compact=True),
            topic(self.process_status, 1, _STATUS_HOURS),
            topic(self.dead_letter, 1, self.dead_letter_retention_hours),
            topic(self.decisions, 1, None, compact=True),
            topic(self.inbound, self.partitions, self.retention_hours),
            topic(self.takeovers, 1, _TAKEOVERS_HOURS),
            topic(self.watermarks, 1, _WATERMARKS_HOURS),
            topic(self.audit, 1, self.audit_retention_hours),
        ]
