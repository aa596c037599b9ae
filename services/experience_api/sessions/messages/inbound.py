"""Handles messages of consumers: appends those of permitted clients to the inbound topic, reports all others."""

import logging
from collections.abc import Callable, Mapping

import msgspec

from services.experience_api.hub.audience import Subscriber
from services.experience_api.hub.close_codes import MAY_NOT_SEND
from services.experience_api.metrics import ExperienceMetrics
from services.experience_api.producers.once.appender import OnceAppender
from services.experience_api.producers.once.keys import Guarded, id_of, key_of_message
from services.experience_api.refusals import BUSY, KEY_REUSED, PUSH_IN_PROGRESS, UNAVAILABLE, Refused
from services.experience_api.sessions.messages.sent import read_sent
from services.experience_api.stream.control_events import Receipt
from shared.alerts import Alerts
from shared.bus.protocol import Appender, Outgoing
from shared.errors import Unavailable
from shared.events import event
from shared.events.headers import Provenance
from shared.runtime.clock import Clock, rfc3339
from shared.runtime.retry import RetryOptions, retrying

logger = logging.getLogger(__name__)

ALERT = "send refused"
"""The kind of the alert."""

ID_REUSED = "the id was used for a message with other data"
_TYPE = "consumer.message"
_PASSING = frozenset({BUSY, PUSH_IN_PROGRESS, UNAVAILABLE})
_RETRY = RetryOptions(attempts=12, first_wait=0.1, longest_wait=10.0)


class Inbound:
    """Handles what consumers send."""

    def __init__(
        self,
        appender: Appender,
        once: OnceAppender,
        topic: str,
        alerts: Alerts,
        metrics: ExperienceMetrics,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._appender = appender
        self._once = once
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

    async def append(self, subscriber: Subscriber, message: bytes) -> Receipt:
        """Return what became of a message of a permitted client, once the bus has stored it, or it was rejected.

        Retries while the bus is unavailable. A message with an id is stored once.

        Raises:
            Unavailable: the retries are exhausted.
            TooLarge: it is too large for the bus.
        """
        sent_id: str | None = None
        try:
            sent_id, attributes = read_sent(message)
            if sent_id is None:
                return await self._store(subscriber, attributes)
            return await self._store_once(subscriber, sent_id, attributes)
        except Refused as exc:
            detail = ID_REUSED if exc.refusal is KEY_REUSED else exc.detail
            return Receipt("", sent_id, exc.refusal.code, detail)

    async def _store(self, subscriber: Subscriber, attributes: Mapping[str, bytes]) -> Receipt:
        identity = self._new_id()
        record = self._record(subscriber.client_id, identity, attributes)

        async def attempt() -> None:
            await self._appender.append(self._topic, [record])

        await retrying(_RETRY, clock=self._clock)(attempt)
        self._metrics.inbound.inc()
        return Receipt(identity)

    async def _store_once(self, subscriber: Subscriber, sent_id: str, attributes: Mapping[str, bytes]) -> Receipt:
        key = key_of_message(subscriber.client_id, sent_id, attributes)
        record = self._record(subscriber.client_id, id_of(key), attributes)

        async def attempt() -> int:
            try:
                return await self._once.append([Guarded(key, [record])], self._topic)
            except Refused as exc:
                if exc.refusal in _PASSING:
                    raise Unavailable(exc.detail) from exc
                raise

        self._metrics.inbound.inc(await retrying(_RETRY, clock=self._clock)(attempt))
        return Receipt(id_of(key), sent_id)

    def _record(self, client_id: str, identity: str, attributes: Mapping[str, bytes]) -> Outgoing:
        now = self._clock.time()
        found = {
            "specversion": event.json_string("1.0"),
            "id": event.json_string(identity),
            "source": event.json_string(f"/clients/{client_id}"),
            "type": event.json_string(_TYPE),
            "subject": event.json_string(client_id),
            "time": event.json_string(rfc3339(now)),
            **attributes,
        }
        value = event.encode({name: msgspec.Raw(text) for name, text in found.items()})
        return Outgoing(client_id.encode(), value, Provenance("inbound", int(now * 1000), identity).headers())
