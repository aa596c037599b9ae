"""A service's connection to the bus: made in the background, made again after a failure, and reported in `/readyz`."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from shared.bus.protocol import Bus
from shared.bus.topics import TopicsOptions
from shared.errors import Unavailable
from shared.http.health import NotYet
from shared.runtime.clock import Clock
from shared.runtime.retry import PAUSE


class BusConnection:
    """The bus while it is connected, and the reason while it is not."""

    def __init__(
        self, connect: Callable[[], AbstractAsyncContextManager[Bus]], topics: TopicsOptions, clock: Clock
    ) -> None:
        self._connect = connect
        self._topics = topics
        self._clock = clock
        self._bus: Bus | None = None
        self._reason: str = NotYet("not connected yet")

    def through(
        self, wrap: Callable[[Callable[[], AbstractAsyncContextManager[Bus]]], AbstractAsyncContextManager[Bus]]
    ) -> "BusConnection":
        """Return a connection to what `wrap` makes of the bus; `wrap` gets what connects to it."""
        return BusConnection(lambda: wrap(self._connect), self._topics, self._clock)

    @property
    def problem(self) -> str | None:
        """Why the bus cannot be used now; None if it can."""
        return self._reason if self._bus is None else self._bus.problem

    @property
    def connected(self) -> Bus:
        """The bus.

        Raises:
            Unavailable: it is not connected; the text says why.
        """
        if self._bus is None:
            raise Unavailable(str(self._reason))
        return self._bus

    def wait_for(self, part: str) -> None:
        """Report, until the first attempt to connect, that it waits for another part."""
        self._reason = NotYet(f"waiting for {part}")

    async def keep(self, use: Callable[[Bus], Awaitable[None]]) -> None:
        """Connect, make the topics, and run `use`; when it raises `Unavailable`, connect again after a second.

        Raises:
            SettingsError: an existing topic contradicts the settings.
            Exception: `use` failed otherwise.
        """
        while True:
            try:
                async with self._connect() as bus:
                    await bus.ensure_topics(self._topics.all())
                    self._bus = bus
                    await use(bus)
            except Unavailable as exc:
                self._reason = str(exc)
            finally:
                self._bus = None
            await self._clock.sleep(PAUSE)
