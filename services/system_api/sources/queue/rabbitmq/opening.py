"""Opens a RabbitMQ source at a checkpoint."""

from services.system_api.sources.queue.opening import BrokerClass, QueueSourceKind
from services.system_api.sources.queue.rabbitmq.options import RabbitmqSourceOptions


class RabbitmqSourceKind(QueueSourceKind, RabbitmqSourceOptions):
    """A queue or a stream of RabbitMQ."""

    def broker_class(self) -> BrokerClass:
        """Return the class of the broker; see `QueueSourceKind`."""
        from services.system_api.sources.queue.rabbitmq.queue import RabbitmqQueue  # noqa: PLC0415 -- an extra
        from services.system_api.sources.queue.rabbitmq.stream import RabbitmqStream  # noqa: PLC0415 -- an extra

        return RabbitmqQueue if self.queue is not None else RabbitmqStream
