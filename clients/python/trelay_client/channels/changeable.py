"""The channels of a subscription, which change while it runs."""

import asyncio
from collections.abc import Iterable, Mapping

from trelay_client.channels.changes import Changes
from trelay_client.errors import ChangeUnanswered

TIMEOUT = 60.0


class Channels:
    """Subscribes and unsubscribes from a program with asyncio. Give it to `subscribe` or `resume`.

    The connection stays, and so does the place in the stream. The subscription reads ahead while a change waits, so a
    program may change its channels amid its `async for`.
    """

    def __init__(self, channels: Iterable[str], filters: Mapping[str, str] | None = None) -> None:
        """Begin with some channels or patterns; `filters` are predicates over the events of some of them.

        Raises:
            UsageError: there is no channel, or a name cannot be one.
        """
        self.changes = Changes(channels, filters or {})

    @property
    def names(self) -> tuple[str, ...]:
        """The channels and patterns that the subscription receives."""
        return self.changes.names

    async def subscribe(self, *channels: str, filters: Mapping[str, str | None] | None = None) -> None:
        """Receive these channels as well, and return once their events come: none from then on is missing.

        `filters` are predicates over the events of some of them; None removes one. Without a connection, it waits for
        the next one. If the program stops to wait, the change is made nevertheless.

        Raises:
            ChangeRefused: the client may not read a channel, a name or a filter is invalid, or there are too many.
            ChangeUnanswered: the subscription has ended.
            UsageError: a name cannot be that of a channel.
        """
        await asyncio.wrap_future(self.changes.add(channels, (), filters or {}).result)

    async def unsubscribe(self, *channels: str) -> None:
        """Receive these channels no more, and return once no further event of them is sent.

        Those that were sent before may still come. Raises what `subscribe` raises, and `UsageError` if no channel would
        be left.
        """
        await asyncio.wrap_future(self.changes.add((), channels, {}).result)


class BlockingChannels:
    """Subscribes and unsubscribes from a program without asyncio. Give it to `events`; any thread may use it."""

    def __init__(self, channels: Iterable[str], filters: Mapping[str, str] | None = None) -> None:
        """Begin with some channels, as `Channels` does."""
        self.changes = Changes(channels, filters or {})

    @property
    def names(self) -> tuple[str, ...]:
        """The channels and patterns that the subscription receives."""
        return self.changes.names

    def subscribe(
        self, *channels: str, filters: Mapping[str, str | None] | None = None, timeout: float = TIMEOUT
    ) -> None:
        """Subscribe as `Channels.subscribe` does: block until the change is made, and raise the same errors.

        Raises `ChangeUnanswered` after `timeout` seconds, too; the change is made later.
        """
        self._change(channels, (), filters or {}, timeout)

    def unsubscribe(self, *channels: str, timeout: float = TIMEOUT) -> None:
        """Unsubscribe as `Channels.unsubscribe` does, and raise what `subscribe` raises."""
        self._change((), channels, {}, timeout)

    def _change(
        self,
        subscribe: tuple[str, ...],
        unsubscribe: tuple[str, ...],
        filters: Mapping[str, str | None],
        timeout: float,
    ) -> None:
        try:
            self.changes.add(subscribe, unsubscribe, filters).result.result(timeout)
        except TimeoutError:
            raise ChangeUnanswered(f"no answer within {timeout:g} s; it is made later") from None
