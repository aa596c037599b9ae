"""Opens a NATS source at a checkpoint."""

from services.system_api.sources.queue.nats.options import NatsSourceOptions
from services.system_api.sources.queue.opening import BrokerClass, QueueSourceKind


class NatsSourceKind(QueueSourceKind, NatsSourceOptions):
    """A stream of NATS JetStream."""

    def broker_class(self) -> BrokerClass:
        """Return the class of the broker; see `QueueSourceKind`."""
        from services.system_api.sources.queue.nats.stream import NatsStream  # noqa: PLC0415 -- an extra

        return NatsStream
