"""Handles messages of consumers: appends those of permitted clients to the inbound topic, reports all others."""

import base64
import logging
from collections.abc import Callable

import msgspec

from services.experience_api.hub.audience import Subscriber
from services.experience_api.hub.close_codes import MAY_NOT_SEND
from services.experience_api.metrics import ExperienceMetrics
from shared.alerts import Alerts
from shared.bus.protocol import Appender, Outgoing
from shared.events import event
from shared.events.headers import Provenance
from shared.runtime.clock import Clock, rfc3339
from shared.runtime.retry import RetryOptions, retrying

logger = logging.getLogger(__name__)

ALERT = "send refused"
"""The kind of the alert."""

_TYPE = "consumer.message"
_RETRY = RetryOptions(attempts=12, first_wait=0.1, longest_wait=10.0)


class Inbound:
    """Handles what consumers send."""

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

    def on_refused(self, subscriber: Subscriber) -> None:
        """Report a consumer that sent a message without permission. The caller closes its connection."""
        self._metrics.sends_refused.inc()
        logger.warning(
            "consumer sent without permission; closing",
            extra={
                "client_id": subscriber.client_id,
                "connection_id": str(subscriber.connection_id),
                "code": MAY_NOT_SEND.code,
            },
        )
        text = f"the consumer sent a message without permission; its connection was closed with {MAY_NOT_SEND.code}"
        self._alerts.event(ALERT, f"client {subscriber.client_id}", text)

    async def append(self, subscriber: Subscriber, message: bytes) -> None:
        """Return once the bus has stored the message of a permitted client. Retries while the bus is unavailable.

        Raises:
            Unavailable: the retries are exhausted.
        """
        record = self._record(subscriber.client_id, message)

        async def attempt() -> None:
            await self._appender.append(self._topic, [record])

        await retrying(_RETRY, clock=self._clock)(attempt)
        self._metrics.inbound.inc()

    def _record(self, client_id: str, message: bytes) -> Outgoing:
        identity, now = self._new_id(), self._clock.time()
        attributes = {
            "specversion": event.json_string("1.0"),
            "id": event.json_string(identity),
            "source": event.json_string(f"/clients/{client_id}"),
            "type": event.json_string(_TYPE),
            "subject": event.json_string(client_id),
            "time": event.json_string(rfc3339(now)),
            **_data(message),
        }
        value = event.encode({name: msgspec.Raw(text) for name, text in attributes.items()})
        return Outgoing(client_id.encode(), value, Provenance("inbound", int(now * 1000), identity).headers())


def _data(message: bytes) -> dict[str, bytes]:
    """Return a message as the data of an event: JSON as it is, other text as a string, anything else as base64."""
    try:
        text = message.decode()
    except UnicodeDecodeError:
        return {"data_base64": event.json_string(base64.b64encode(message).decode())}
    try:
        compact = msgspec.json.format(message, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        return {"datacontenttype": event.json_string("text/plain"), "data": event.json_string(text)}
    return {"datacontenttype": event.json_string("application/json"), "data": compact}
