"""What readers that stand in the way of another one have in common."""

from collections.abc import Mapping

from shared.bus.protocol import Reader


class ReaderAround:
    """Has the topic and the positions of another reader; how it reads is up to a subclass."""

    def __init__(self, inner: Reader) -> None:
        self._inner = inner

    @property
    def topic(self) -> str:
        return self._inner.topic

    @property
    def positions(self) -> Mapping[int, int]:
        return self._inner.positions
