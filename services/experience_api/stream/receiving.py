"""Handles what one connection sends: one message at a time, at a limited pace, each acknowledged once it is stored."""

import logging

from services.experience_api.hub.close_codes import MAY_NOT_SEND, TOO_BIG, TOO_SLOW, UNAVAILABLE
from services.experience_api.hub.connection import Connection
from services.experience_api.stream.callbacks import Callbacks
from services.experience_api.stream.control_events import ControlEvents
from services.experience_api.stream.pace import Pace
from shared.errors import TooLarge, Unavailable
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)


class Receiver:
    """The messages of one connection."""

    def __init__(self, callbacks: Callbacks, control_events: ControlEvents, clock: Clock, per_second: float) -> None:
        """`per_second` is how many messages are handled a second; further ones are read later."""
        self._callbacks = callbacks
        self._control_events = control_events
        self._clock = clock
        self._pace = Pace(per_second, clock.monotonic())
        self._number = 0

    async def on_message(self, connection: Connection, message: bytes) -> None:
        """Store a message of a client that may send, and acknowledge it; end the connection of another one."""
        if not connection.subscriber.may_send:
            self._refuse(connection)
            return
        self._number += 1
        if (wait := self._pace.take(self._clock.monotonic())) > 0:
            await self._clock.sleep(wait)
        if connection.ending is not None:
            return  # it was not acknowledged
        try:
            receipt = await self._callbacks.on_inbound(connection.subscriber, message)
        except (Unavailable, TooLarge) as exc:
            reason = UNAVAILABLE if isinstance(exc, Unavailable) else TOO_BIG
            subscriber = connection.subscriber
            logger.warning(
                "message not stored; closing",
                extra={
                    "client_id": subscriber.client_id,
                    "connection_id": str(subscriber.connection_id),
                    "code": reason.code,
                    "error": str(exc),
                },
            )
            connection.end(reason)
            return
        frame = self._control_events.received(connection.subscriber, self._number, receipt)
        if not connection.outbox.offer(frame):
            connection.end(TOO_SLOW)  # a client that does not read what it asks for

    def on_oversized(self, connection: Connection) -> None:
        """End the connection of a client that may not send; that of another one ends with `TOO_BIG`."""
        if not connection.subscriber.may_send:
            self._refuse(connection)

    def _refuse(self, connection: Connection) -> None:
        connection.outbox.offer(self._control_events.refused(connection.subscriber, MAY_NOT_SEND.name))
        connection.end(MAY_NOT_SEND)
        self._callbacks.on_refused(connection.subscriber)
