"""Opens an SQS source at a checkpoint."""

from services.system_api.sources.queue.opening import BrokerClass, QueueSourceKind
from services.system_api.sources.queue.sqs.options import SqsSourceOptions


class SqsSourceKind(QueueSourceKind, SqsSourceOptions):
    """A queue of Amazon SQS."""

    def broker_class(self) -> BrokerClass:
        """Return the class of the broker; see `QueueSourceKind`."""
        from services.system_api.sources.queue.sqs.queue import SqsQueue  # noqa: PLC0415 -- an extra

        return SqsQueue
