"""A session with an MQTT broker, at least once: a message is acknowledged after the transaction that publishes it.

The broker keeps the session while Trelay is away, and delivers again what is not acknowledged. It has no positions, so
a message is published twice if Trelay stops between both. A session that the broker no longer knows is reported as a
loss.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from services.system_api.sources.queue.message import Message, Received
from services.system_api.sources.queue.mqtt.client import MqttClient
from services.system_api.sources.queue.mqtt.messages import message_of
from services.system_api.sources.queue.mqtt.options import MqttSourceOptions, Risk
from services.system_api.sources.queue.recent_ids import RecentIds
from services.system_api.sources.source import Checkpoint, Loss
from shared.errors import SettingsError, Unauthorized

_ARRIVAL = 0.2
"""Seconds in which the messages of a session arrive, at its beginning and after those before are acknowledged."""
_REFUSED = 128


class MqttSession:
    """A `Broker`: the session of one source."""

    def __init__(self, source: str, options: MqttSourceOptions, checkpoint: Checkpoint) -> None:
        self._source = source
        self._options = options
        self._known = bool(checkpoint)
        """Whether the session was opened before."""
        self.ledger = RecentIds(options.in_words, options.dedupe_window, checkpoint)

    @property
    def name(self) -> str:
        """The topic filter, or the topics in words."""
        topics = self._options.topics
        return topics[0] if len(topics) == 1 else self._options.in_words

    async def probe(self) -> str:
        """Connect and look; see `Broker`. It has a session of its own: another client of one id ends the first one."""
        options = self._options
        async with MqttClient.connected(options, f"{options.session(self._source)}-probe", 0) as client:
            if client.maximum_qos < 1:
                _refuse({Risk.QOS_0: "the broker delivers with QoS 0 at most"}, options)
        return f"MQTT broker at {options.host}:{options.port}, session {options.session(self._source)!r}"

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Connect to nothing: a session keeps no message that is published; see `Broker`."""
        yield None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["MqttConnection"]:
        """Connect; see `Broker`."""
        options = self._options
        session = options.session(self._source)
        async with MqttClient.connected(options, session, options.session_expiry) as client:
            try:
                await self._subscribe(client)
            except BaseException:
                if self._known and not client.resumed:
                    client.forget()  # or else the next connection would find this new session, and nobody the loss
                raise
            if self._known and not client.resumed:
                self.ledger.losses.append(
                    Loss(
                        f"MQTT session {session!r} is not known to the broker any more: what was sent since it ended is"
                        " lost, other than retained messages"
                    )
                )
            self._known = True
            yield MqttConnection(client, options)

    async def _subscribe(self, client: MqttClient) -> None:
        """Subscribe to the topics, and refuse a broker that loses messages."""
        options = self._options
        found: dict[Risk, str] = {}
        if client.session_expiry is not None and client.session_expiry < options.session_expiry:
            found[Risk.SESSION_EXPIRY] = f"the broker keeps sessions for {client.session_expiry} s"
        granted = await client.subscribe(options.filters)
        for topic, qos in zip(options.topics, granted, strict=True):
            if qos >= _REFUSED:
                raise Unauthorized(
                    f"MQTT broker at {options.host}:{options.port} refuses the subscription to {topic!r} (reason"
                    f" code {qos}); grant user {options.user or ''!r} to read it"
                )
            if qos < 1:
                found[Risk.QOS_0] = f"the broker delivers {topic!r} with QoS {qos}"
        _refuse(found, options)


class MqttConnection:
    """A `Connection` to a session."""

    def __init__(self, client: MqttClient, options: MqttSourceOptions) -> None:
        self._client = client
        self._options = options

    async def receive(self, limit: int, max_bytes: int) -> Received:
        """Return what was delivered; see `Connection`."""
        self._client.check()
        blocked = self._client.unacknowledged > 0
        if not self._client.waiting and not blocked:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._client.active_at + _ARRIVAL):
                    await self._client.arrived.wait()
        self._client.check()
        taken = self._client.take(limit, max_bytes)
        messages = [message_of(each, self._options.message_id, (self._client, each.packet)) for each in taken]
        # A broker does not tell whether it has more than it may send.
        full = self._client.unacknowledged >= self._options.prefetch
        waiting = ("messages behind those that are not acknowledged yet",) if full or (blocked and not taken) else ()
        return Received(messages, more=self._client.waiting, waiting=waiting)

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Acknowledge; see `Connection`."""
        packets = []
        for message in messages:
            assert isinstance(message.token, tuple), "its connection and its packet"
            client, packet = message.token
            if client is self._client and packet:
                packets.append(packet)
        self._client.acknowledge(packets)

    async def wait(self) -> None:
        """Return when something was delivered; see `Connection`."""
        await self._client.arrived.wait()


def _refuse(found: dict[Risk, str], options: MqttSourceOptions) -> None:
    unaccepted = {risk: text for risk, text in found.items() if risk not in options.accept}
    if unaccepted:
        listed = "; ".join(f"{text} ({risk})" for risk, text in unaccepted.items())
        raise SettingsError(
            f"url: {options.host}:{options.port} loses messages that were not read: {listed}. Change it, set"
            f" `session_expiry`, or accept that: accept: [{', '.join(unaccepted)}]"
        )
