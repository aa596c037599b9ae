"""Isolates messages that were delivered often, and parks those that never get processed to the end. No I/O.

A message whose processing kills the process, or raises an error that is not about the message, is delivered again and
again. Only the broker remembers how often. From the third delivery on, messages are processed one at a time, so that
the count of the harmful one grows and that of the others does not; above `max_deliveries` it goes to the dead letter
topic without another look at it.

A message that this process has turned into an event is harmless: if it is delivered again, then because the bus or the
broker was unavailable, and however often that happens it is not parked.
"""

from collections import OrderedDict
from collections.abc import Iterable

from services.system_api.sources.queue.message import Message

_ALONE_AFTER = 2
"""Deliveries above which a message is processed alone."""
_REMEMBERED = 10_000
"""Messages whose outcome is remembered."""


class Deliveries:
    """What is known of the deliveries of one source; it outlives a run of the source."""

    def __init__(self, max_deliveries: int) -> None:
        self._max = max_deliveries
        self._processed: OrderedDict[str, None] = OrderedDict()
        """Messages that this process has processed and that are not settled, the newest last."""
        self._failed: OrderedDict[str, str] = OrderedDict()
        """Messages that have raised an error, with the error."""
        self.alone = True
        """Whether one message is processed and committed before the next one."""

    def begin_connection(self) -> None:
        """Note a new connection: its first message shows whether messages are delivered again."""
        self.alone = True

    def limit(self, limit: int) -> int:
        """Return how many messages may be received together."""
        return 1 if self.alone else limit

    def begin(self, message: Message) -> str | None:
        """Note that a message is about to be processed; return the reason why it must not be."""
        harmless = message.deliveries <= _ALONE_AFTER or message.place in self._processed
        self.alone = not harmless
        if harmless or message.deliveries <= self._max:
            return None
        error = self._failed.get(message.place)
        return f"delivered {message.deliveries} times and never processed to the end" + (
            f"; the last error: {error}" if error else ""
        )

    def note_repeat(self, message: Message) -> None:
        """Note a message that was published before, and is not processed again."""
        self.alone = message.deliveries > _ALONE_AFTER

    def note_failed(self, message: Message, error: str) -> None:
        """Note that processing a message raised an error that is not about the message."""
        self._failed[message.place] = error
        if len(self._failed) > _REMEMBERED:
            self._failed.popitem(last=False)

    def note_processed(self, message: Message) -> None:
        """Note that an event or a reject was made of a message."""
        self._processed[message.place] = None
        if len(self._processed) > _REMEMBERED:
            self._processed.popitem(last=False)

    def note_settled(self, messages: Iterable[Message]) -> None:
        """Note that messages are committed, so that nothing needs to be remembered of them."""
        for message in messages:
            self._processed.pop(message.place, None)
            self._failed.pop(message.place, None)
