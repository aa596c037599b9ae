"""What a program gives to one subscription at a time, such as its messages, and uses from any thread."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from threading import RLock

from trelay_client.errors import UsageError


class Attached(ABC):
    """Belongs to one subscription at a time, across all its connections."""

    def __init__(self, name: str) -> None:
        """`name` is what errors call it."""
        self._name = name
        self._lock = RLock()
        self._listeners: list[Callable[[], None]] = []
        """That of the subscription, then that of its connection."""
        self._attached = False
        self._ended: str | None = None

    @property
    @abstractmethod
    def waiting(self) -> bool:
        """Whether the program may wait for an answer of the relay."""

    @abstractmethod
    def end(self, reason: str) -> None:
        """End the subscription: no connection follows. What has no answer is reported, and what is added."""

    def attach(self, listener: Callable[[], None]) -> None:
        """Belong to a subscription; `listener` is called, in any thread, when something is added.

        Raises:
            UsageError: another subscription uses it.
        """
        with self._lock:
            if self._attached:
                raise UsageError(f"the {self._name} belongs to another subscription; expected one of its own for each")
            self._attached, self._ended = True, None
            self._listeners.append(listener)

    def detach(self, reason: str) -> None:
        """Leave the subscription, as `end` does; what is added waits for the next one."""
        with self._lock:
            self.end(reason)
            self._attached, self._ended = False, None
            self._listeners.clear()

    def _listen(self, listener: Callable[[], None]) -> None:
        """Call the listener of a connection as well, until `_disconnect`."""
        self._listeners.append(listener)

    def _disconnect(self) -> None:
        del self._listeners[1:]

    def _notify(self) -> None:
        for listener in self._listeners:
            listener()
