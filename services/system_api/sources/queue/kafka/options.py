"""The settings of a Kafka source; at least `{kind: kafka, servers: …, topics: [orders], type: order.updated}`."""

import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.system_api.sources.queue.options import QueueSourceOptions
from shared.bus.kafka.options import KafkaConnectionOptions, KafkaOptions
from shared.settings import Form

TopicName = Annotated[str, Form(r"^[A-Za-z0-9._-]{1,249}$", "the name of a topic: letters, digits, '.', '_' and '-'")]


class Risk(StrEnum):
    """How a topic loses records before they are read; a source of such a topic is refused unless it accepts that."""

    COMPACTED = "compacted"
    """Older values of a key are removed (`cleanup.policy: compact`), also before they are read."""
    UNCLEAN_ELECTION = "unclean_election"
    """A broker that lags may become the leader, without the newest records (`unclean.leader.election.enable`)."""


class KafkaSourceOptions(QueueSourceOptions, KafkaConnectionOptions):
    """Topics of a Kafka cluster."""

    kind: Literal["kafka"]
    """Topics of a Kafka cluster, another one than that of the bus."""

    topics: Annotated[tuple[TopicName, ...], Field(min_length=1, max_length=100)] | None = None
    """The topics to read; their owner creates them."""

    pattern: str | None = Field(default=None, min_length=1, max_length=1000)
    """A regular expression, in place of `topics`: all topics whose whole name matches, also those that are created
    later."""

    start: Literal["earliest", "latest"] = "earliest"
    """Where to begin in a topic without a checkpoint. Partitions and topics that appear while the source is read are
    read from their beginning."""

    group: str | None = Field(default=None, min_length=1, max_length=249)
    """A consumer group in which the published offsets are noted, for tools that show the lag. Trelay does not read
    them: the offsets that count are in its checkpoint."""

    accept: tuple[Risk, ...] = ()
    """How these topics may lose records; each way that is not named here is refused when the source is opened."""

    @property
    def in_words(self) -> str:
        """The topics, for errors and checkpoints: the same whichever topics the settings name."""
        return "Kafka topics"

    @property
    def cluster(self) -> KafkaOptions:
        """The connection, as the client of the bus takes it."""
        given = {name: getattr(self, name) for name in KafkaConnectionOptions.model_fields}
        # Validated already: paths must not be resolved twice.
        return KafkaOptions.model_construct(**given, delivery_timeout=self.connect_timeout)

    def matches(self, topic: str) -> bool:
        """Return whether the pattern matches a topic."""
        return self.pattern is not None and re.fullmatch(self.pattern, topic) is not None

    @model_validator(mode="after")
    def _topics_or_pattern(self) -> Self:
        if (self.topics is None) == (self.pattern is None):
            found = "neither" if self.topics is None else "both"
            raise ValueError(f"found {found} of `topics` and `pattern`; expected one of them")
        if self.topics is not None and len(set(self.topics)) != len(self.topics):
            raise ValueError("topics: found a topic twice; expected each once")
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as exc:
                raise ValueError(f"pattern: found {self.pattern!r}; expected a regular expression: {exc}") from exc
        return self
