"""Records for tests, as a bus returns them."""

from shared.bus.memory.log import MemoryRecord
from shared.bus.protocol import Headers


def record(
    channel: str = "a", offset: int = 0, partition: int = 0, value: bytes | None = None, headers: Headers = ()
) -> MemoryRecord:
    """Return a record with an event of a channel and offset."""
    if value is None:
        value = b'{"id":"%d/%d","channel":"%b"}' % (partition, offset, channel.encode())
    return MemoryRecord("trelay.publish", partition, offset, 0, channel.encode(), value, headers)
