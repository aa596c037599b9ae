"""Notes published offsets in a consumer group, so that the tools of the cluster's owner show the lag.

Nothing reads them: they are noted after the transaction that publishes, at most once a second.
"""

import logging
from collections.abc import Iterable

from services.system_api.sources.queue.message import Message
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.client.errors import LOST_CONNECTION, NONE, Retriable, error_for_code, translate
from shared.bus.kafka.wire.offsets import offset_commit
from shared.errors import TrelayError

logger = logging.getLogger(__name__)

_INTERVAL = 1.0
_RETRY_AFTER = 5.0
_MOMENT = 10.0
"""Seconds for which a coordinator may not be there yet: a new cluster creates the topic of its groups at first use."""


class LagReport:
    """The offsets of one source that are not noted yet."""

    def __init__(self, source: str, cluster: Cluster, group: str | None) -> None:
        self._source = source
        self._cluster = cluster
        self._group = group
        self._pending: dict[str, dict[int, int]] = {}
        self._due = cluster.clock.monotonic()
        self._failing_since: float | None = None
        self._logged = False

    def note(self, messages: Iterable[Message]) -> None:
        """Note that messages are published."""
        if self._group is None:
            return
        for message in messages:
            topic, _, number = message.partition.rpartition("/")
            assert isinstance(message.position, int), "an offset"
            self._pending.setdefault(topic, {})[int(number)] = message.position + 1

    async def report(self) -> None:
        """Send what is noted, unless something was sent a moment ago."""
        if self._pending and self._cluster.clock.monotonic() >= self._due:
            await self.flush()

    async def flush(self) -> None:
        """Send what is noted. A failure is logged, once: it concerns nothing but the display."""
        if not self._pending or self._group is None:
            return
        try:
            await self._commit(self._group, self._pending)
        except TrelayError as exc:
            now = self._cluster.clock.monotonic()
            self._due = now + _RETRY_AFTER
            if self._failing_since is None:
                self._failing_since = now
            lasts = not isinstance(exc, Retriable) or now - self._failing_since >= _MOMENT
            if lasts and not self._logged:
                fields = {"component": "source", "source": self._source, "group": self._group, "error": str(exc)}
                logger.warning("could not note offsets in consumer group", extra=fields)
                self._logged = True
        else:
            self._due = self._cluster.clock.monotonic() + _INTERVAL
            self._pending = {}
            self._failing_since, self._logged = None, False

    async def _commit(self, group: str, offsets: dict[str, dict[int, int]]) -> None:
        doing = f"note offsets in group {group}"
        coordinator = await self._cluster.coordinator("group", group)
        try:
            response = await self._cluster.send(coordinator, offset_commit(group, offsets))
        except LOST_CONNECTION as exc:
            raise translate(exc, doing) from exc
        for _, partitions in response.topics:
            for _, code in partitions:
                if code != NONE:
                    raise error_for_code(code, doing)
