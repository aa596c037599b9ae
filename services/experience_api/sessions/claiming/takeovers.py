"""Tells the other replicas, over the bus, which of their connections have been taken over.

A replica that cannot reach the database keeps its connections, and receives no notices. If another replica, which can
reach it, admits one of their clients meanwhile, this is how the first one learns that it has to end a connection.
"""

import logging
from collections.abc import Callable, Mapping
from uuid import UUID

from services.experience_api.registry.notices import ClaimLost, LossReason, Notice, decode, encode
from shared.bus.protocol import Appender, Bus, Outgoing
from shared.errors import Malformed, PositionLost, Unavailable
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

_WAIT = 10.0
_PAUSE = 1.0


class Takeovers:
    """Announces takeovers, and reads what other replicas announce."""

    def __init__(
        self, bus: Bus, appender: Appender, topic: str, on_notice: Callable[[Notice], None], clock: Clock
    ) -> None:
        self._bus = bus
        self._appender = appender
        self._topic = topic
        self._on_notice = on_notice
        self._clock = clock
        self._positions: Mapping[int, int] = {}

    async def announce(self, connection_id: UUID) -> None:
        """Return once the bus has stored that a connection was taken over.

        Raises:
            Unavailable: the bus does not answer.
        """
        notice = encode(ClaimLost(connection_id, LossReason.TAKEN_OVER))
        await self._appender.append(self._topic, [Outgoing(connection_id.bytes, notice.encode())])

    async def run(self) -> None:
        """Read announcements from now on, until cancelled."""
        while True:
            try:
                if not self._positions:
                    bounds = await self._bus.bounds(self._topic)
                    self._positions = {partition: end for partition, (_, end) in bounds.items()}
                await self._read()
            except PositionLost as lost:
                logger.warning("lost position in topic of takeovers", extra={"topic": self._topic, "error": str(lost)})
                self._positions = {**self._positions, lost.partition: lost.earliest}
            except Unavailable:
                await self._clock.sleep(_PAUSE)  # the feed logs the outage

    async def _read(self) -> None:
        async with self._bus.reader(self._topic, self._positions) as reader:
            while True:
                for record in await reader.read(wait=_WAIT):
                    self._handle(record.value or b"")
                self._positions = dict(reader.positions)

    def _handle(self, value: bytes) -> None:
        try:
            notice = decode(value.decode(errors="replace"))
        except Malformed as exc:
            logger.warning("ignoring unknown announcement of another replica", extra={"error": str(exc)})
            return
        self._on_notice(notice)
