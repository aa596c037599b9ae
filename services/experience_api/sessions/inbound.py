"""What consumers send: from most of them nothing is wanted; from those that may, it goes to the inbound topic."""

import base64
import logging
from collections.abc import Callable

import msgspec

from services.experience_api.hub.connection import Subscriber
from services.experience_api.metrics import ExperienceMetrics
from shared.alerts import Alerts
from shared.bus.protocol import Appender, Outgoing
from shared.events import event
from shared.events.headers import Provenance
from shared.runtime.clock import Clock, rfc3339
from shared.runtime.retry import RetryOptions, retrying

logger = logging.getLogger(__name__)

ALERT = "consumer sends"
"""The kind of the alert."""

_TYPE = "consumer.message"
_RETRY = RetryOptions(attempts=12, first_wait=0.1, longest_wait=10.0)


class Inbound:
    """Acts on what consumers send."""

    def __init__(
        self,
        appender: Appender,
        topic: str,
        alerts: Alerts,
        metrics: ExperienceMetrics,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._appender = appender
        self._topic = topic
        self._alerts = alerts
        self._metrics = metrics
        self._clock = clock
        self._new_id = new_id

    def refused(self, subscriber: Subscriber) -> None:
        """Note that a consumer has sent something that it may not; its connection ends for it."""
        self._metrics.sends_refused.inc()
        logger.warning(
            "client %s has sent something, which consumers may not: its connection is closed",
            subscriber.client_id,
            extra={"client_id": subscriber.client_id, "connection_id": str(subscriber.connection_id)},
        )
        text = "it has sent something, which consumers may not, and its connection was closed"
        self._alerts.event(ALERT, f"client {subscriber.client_id}", text)

    async def accept(self, subscriber: Subscriber, message: bytes) -> None:
        """Return once the bus has the message of a client that may send; waits out a bus that is away for a while.

        Raises:
            Unavailable: it was away for too long.
        """
        record = self._record(subscriber.client_id, message)

        async def append() -> None:
            await self._appender.append(self._topic, [record])

        await retrying(_RETRY, clock=self._clock)(append)
        self._metrics.inbound.inc()

    def _record(self, client_id: str, message: bytes) -> Outgoing:
        identity, now = self._new_id(), self._clock.time()
        head = event.json_string
        attributes = {
            "specversion": head("1.0"),
            "id": head(identity),
            "source": head(f"/clients/{client_id}"),
            "type": head(_TYPE),
            "subject": head(client_id),
            "time": head(rfc3339(now)),
            **_data(message),
        }
        value = event.encode({name: msgspec.Raw(text) for name, text in attributes.items()})
        return Outgoing(client_id.encode(), value, Provenance("inbound", int(now * 1000), identity).headers())


def _data(message: bytes) -> dict[str, bytes]:
    """Return a message as an event's data: JSON as it is, other text as a string, anything else as base64."""
    try:
        text = message.decode()
    except UnicodeDecodeError:
        return {"data_base64": event.json_string(base64.b64encode(message).decode())}
    try:
        compact = msgspec.json.format(message, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        return {"datacontenttype": event.json_string("text/plain"), "data": event.json_string(text)}
    return {"datacontenttype": event.json_string("application/json"), "data": compact}
