"""Finds out whether the connection that holds a claim is alive, on whichever replica it is."""

import asyncio
import logging
import uuid
from collections.abc import Mapping
from uuid import UUID

from services.experience_api.refusals import UNAVAILABLE, Refused
from services.experience_api.registry.notices import Probe, ProbeResult
from services.experience_api.registry.protocol import Held, Notices
from services.experience_api.sessions.slots import ConnectionSlot
from shared.errors import Unavailable

logger = logging.getLogger(__name__)


class Probes:
    """Probes holders, and answers the probes of other replicas."""

    def __init__(self, notices: Notices, slots: Mapping[UUID, ConnectionSlot], timeout: float) -> None:
        """`slots` are those of this replica; `timeout` is the seconds that a connection has to answer a ping."""
        self._notices = notices
        self._slots = slots
        self._timeout = timeout
        self._waiting: dict[UUID, asyncio.Future[bool]] = {}

    async def responds(self, held: Held, node: str) -> bool:
        """Return whether a holder answers. `node` is the name of this replica.

        Raises:
            Refused: `UNAVAILABLE`: another replica cannot be asked at the moment.
            Unavailable: the registry does not answer.
        """
        if held.node == node:
            slot = self._slots.get(held.connection_id)
            return slot is not None and await slot.responds(self._timeout)
        if self._notices.problem is not None:
            # No answer would arrive here, and a live connection must not lose its claim because of that.
            raise Refused(UNAVAILABLE, "no connection to other replicas at the moment; try again", retry_after=1.0)
        probe = Probe(held.connection_id, held.node, uuid.uuid4())
        result: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[probe.probe_id] = result
        try:
            # A little longer than the holder has, for its answer to arrive.
            async with asyncio.timeout(self._timeout * 1.2):
                await self._notices.notify(probe)
                return await result
        except TimeoutError:
            return False
        finally:
            del self._waiting[probe.probe_id]

    def on_result(self, result: ProbeResult) -> None:
        """Handle the answer of another replica; one that is not waited for is ignored."""
        waiter = self._waiting.get(result.probe_id)
        if waiter is not None and not waiter.done():
            waiter.set_result(result.alive)

    async def answer(self, probe: Probe) -> None:
        """Answer another replica's probe of a connection of this one."""
        slot = self._slots.get(probe.connection_id)
        alive = slot is not None and await slot.responds(self._timeout)
        try:
            await self._notices.notify(ProbeResult(probe.probe_id, alive))
        except Unavailable as exc:
            logger.warning("probe answer failed", extra={"connection_id": str(probe.connection_id), "error": str(exc)})
