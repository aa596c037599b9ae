"""Opens a Kafka source at a checkpoint."""

from typing import ClassVar

from services.system_api.sources.queue.kafka.options import KafkaSourceOptions
from services.system_api.sources.queue.opening import BrokerClass, QueueSourceKind


class KafkaSourceKind(QueueSourceKind, KafkaSourceOptions):
    """Topics of a Kafka cluster."""

    EXTRA: ClassVar[str] = "kafka"

    def broker_class(self) -> BrokerClass:
        """Return the class of the broker; see `QueueSourceKind`."""
        from services.system_api.sources.queue.kafka.topics import KafkaTopics  # noqa: PLC0415 -- an extra

        return KafkaTopics
