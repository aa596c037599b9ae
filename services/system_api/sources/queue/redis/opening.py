"""Opens a Redis source at a checkpoint."""

from services.system_api.sources.queue.opening import BrokerClass, QueueSourceKind
from services.system_api.sources.queue.redis.options import RedisSourceOptions


class RedisSourceKind(QueueSourceKind, RedisSourceOptions):
    """A stream of Redis."""

    def broker_class(self) -> BrokerClass:
        """Return the class of the broker; see `QueueSourceKind`."""
        from services.system_api.sources.queue.redis.stream import RedisStream  # noqa: PLC0415 -- an extra

        return RedisStream
