"""The connection to an MQTT broker; the one module that knows paho-mqtt.

Aiomqtt acknowledges a message when it arrives, and reads as fast as the broker sends. So the messages are taken from
paho-mqtt below it, which can leave the acknowledgement to its caller. While there is no room for more, the socket is
not read, so that the broker waits.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from aiomqtt import Client, MqttError, ProtocolVersion
from paho.mqtt import properties as paho_properties
from paho.mqtt.client import MQTT_LOG_ERR
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from services.system_api.sources.queue.closing import surely_closed
from services.system_api.sources.queue.mqtt.errors import mqtt_errors
from services.system_api.sources.queue.mqtt.messages import Delivery
from services.system_api.sources.queue.mqtt.options import MqttSourceOptions

_QOS = 1
_LENGTH = 2
"""Bytes of the length before a text."""


def _text(buffer: bytes, most: int) -> tuple[str, int]:
    r"""Return a text of a property, and the bytes that it takes; what is not UTF-8 becomes `\xff`.

    In place of the function of paho-mqtt, which ends the connection at such a text, and at U+FEFF, which is valid (MQTT
    5.0, 1.5.4). Not all brokers check texts, and they deliver such a message again and again.

    Raises:
        MalformedPacket: it is longer than what holds it.
    """
    length = int.from_bytes(buffer[:2])
    if most < _LENGTH or length > most - _LENGTH:
        raise MalformedPacket("Length delimited string too long")
    return buffer[_LENGTH : _LENGTH + length].decode(errors="backslashreplace"), _LENGTH + length


paho_properties.readUTF = _text

# Trelay reports each outage itself, once.
logging.getLogger("mqtt").setLevel(logging.CRITICAL)


class MqttClient:
    """One connection, and what it has delivered that was not taken yet."""

    def __init__(self, options: MqttSourceOptions, client: Client, connack: dict[str, Any]) -> None:
        self._options = options
        self._client = client
        self._paho = client._client  # noqa: SLF001 -- aiomqtt has no manual acknowledgement
        self._waiting: deque[Delivery] = deque()
        self._size = 0
        self._paused = False
        self.unacknowledged = 0
        """How many messages were delivered and not acknowledged; the broker may send no more before they are."""
        self.active_at = asyncio.get_running_loop().time()
        """When the last message was delivered or acknowledged, or else the connection opened."""
        self.arrived = asyncio.Event()
        """Set when there is something to take, or the connection is lost."""
        self.resumed: bool = connack["session_present"]
        """Whether the broker knew the session."""
        self.session_expiry: int | None = connack.get("SessionExpiryInterval")
        """Seconds for which the broker keeps it, where that is not what was asked for."""
        self.maximum_qos: int = connack.get("MaximumQoS", 2)
        self._lost: BaseException | None = None
        self._paho.on_message = self._received
        self._lost_future = client._disconnected  # noqa: SLF001 -- aiomqtt tells it nowhere else
        self._lost_future.add_done_callback(self._note_lost)

    @classmethod
    @asynccontextmanager
    async def connected(
        cls, options: MqttSourceOptions, client_id: str, session_expiry: int
    ) -> AsyncIterator["MqttClient"]:
        """Connect for as long as the context lasts; the session lasts `session_expiry` seconds longer.

        Raises:
            Unavailable: the broker does not answer.
            Unauthorized: it refuses the credentials.
            SettingsError: a certificate file cannot be used.
        """
        opening = _connect(cls, options, client_id, session_expiry)
        async with surely_closed("connection to MQTT", opening, lambda opened: opened.close()) as opened:
            yield opened

    async def close(self) -> None:
        """Disconnect; the session stays."""
        await self._client.__aexit__(None, None, None)

    def forget(self) -> None:
        """Let the session end with this connection. Source: MQTT 5.0, 3.14.2.2.2."""
        properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call] # published without types
        properties.SessionExpiryInterval = 0
        paho: Any = self._paho
        paho.disconnect = partial(paho.disconnect, properties=properties)

    async def subscribe(self, filters: Sequence[str]) -> list[int]:
        """Subscribe with QoS 1; return the granted QoS of each filter, 128 and more for a refusal."""
        wanted = SubscribeOptions(qos=_QOS, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        with mqtt_errors(self._options):
            granted: list[Any] = list(
                await self._client.subscribe(
                    [(each, wanted) for each in filters], timeout=self._options.connect_timeout
                )
            )
        return [int(getattr(each, "value", each)) for each in granted]

    def take(self, limit: int, max_bytes: int) -> list[Delivery]:
        """Return what was delivered: at most `limit` messages, and about `max_bytes`."""
        taken: list[Delivery] = []
        size = 0
        while self._waiting and len(taken) < limit and size < max_bytes:
            delivery = self._waiting.popleft()
            size += len(delivery.payload)
            taken.append(delivery)
        self._size -= size
        if self._paused and self._size < self._options.prefetch_bytes:
            self._paused = False
            self._watch()
        if not self._waiting and not self._lost_future.done():
            self.arrived.clear()
        return taken

    @property
    def waiting(self) -> bool:
        """Whether messages can be taken."""
        return bool(self._waiting)

    def acknowledge(self, packets: Sequence[int]) -> None:
        """Acknowledge packets, in the order of their delivery."""
        self.check()
        for packet in packets:
            with mqtt_errors(self._options):
                if self._paho.ack(packet, _QOS):
                    raise ConnectionError("the connection was closed")
            self.unacknowledged -= 1
            self.active_at = asyncio.get_running_loop().time()

    def _note_lost(self, lost: "asyncio.Future[None]") -> None:
        lost.cancelled() or lost.exception()  # where nobody reads from it any more, it is no error
        self.arrived.set()

    def check(self) -> None:
        """Raise `Unavailable` if the connection is lost."""
        if self._lost_future.done():
            with mqtt_errors(self._options):
                raise self._lost_future.exception() or ConnectionError("the connection was closed")

    def _received(self, _client: Any, _userdata: Any, message: Any) -> None:
        properties = message.properties
        self._waiting.append(
            Delivery(
                message._topic.decode(errors="backslashreplace"),  # noqa: SLF001 -- `topic` raises an error instead
                message.payload,
                message.mid if message.qos else 0,
                bool(message.dup),
                getattr(properties, "ContentType", None),
                dict(getattr(properties, "UserProperty", ())),
            )
        )
        self._size += len(message.payload)
        self.unacknowledged += bool(message.qos)
        self.active_at = asyncio.get_running_loop().time()
        self.arrived.set()
        if self._size >= self._options.prefetch_bytes and not self._paused:
            self._paused = True
            if (socket := self._paho.socket()) is not None:
                asyncio.get_running_loop().remove_reader(socket.fileno())

    def _watch(self) -> None:
        """Read the socket again, also what TLS has decrypted already."""
        socket = self._paho.socket()
        if socket is not None:
            loop = asyncio.get_running_loop()
            loop.add_reader(socket.fileno(), self._readable)
            loop.call_soon(self._readable)

    def _readable(self) -> None:
        try:
            while not self._paused:
                self._paho.loop_read()
                socket = self._paho.socket()
                if socket is None or not (hasattr(socket, "pending") and socket.pending()):
                    return
        except Exception as exc:  # noqa: BLE001 -- as aiomqtt does: the connection is lost
            if not self._lost_future.done():
                self._lost_future.set_exception(exc)


class _TlsSocket(ssl.SSLSocket):
    """Closes itself when its handshake fails; paho-mqtt loses sight of it."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 -- as the method that it overrides
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


async def _connect(
    made: type[MqttClient], options: MqttSourceOptions, client_id: str, session_expiry: int
) -> MqttClient:
    context = await asyncio.to_thread(options.tls_context)
    if context is not None:
        context.sslsocket_class = _TlsSocket
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # published without types
    properties.SessionExpiryInterval = session_expiry
    properties.ReceiveMaximum = options.prefetch
    client = Client(
        options.host,
        options.port,
        username=options.user,
        password=options.secret,
        identifier=client_id,
        protocol=ProtocolVersion.V5,
        clean_start=session_expiry == 0,
        keepalive=options.keepalive,
        timeout=options.connect_timeout,
        properties=properties,
        tls_context=context,
    )
    paho: Any = client._client  # noqa: SLF001 -- what the broker answers is told by a callback only
    connack: dict[str, Any] = {}
    paho.manual_ack_set(on=True)
    paho.connect_timeout = options.connect_timeout
    connected = paho.on_connect
    early: deque[Any] = deque()
    paho.on_message = lambda *given: early.append(given)  # what a resumed session delivers at once

    def note(client_: Any, userdata: Any, flags: Any, code: Any, found: Any = None) -> None:
        connack.update({} if found is None else found.json())
        connack["session_present"] = flags.session_present
        connected(client_, userdata, flags, code, found)

    problems: list[str] = []
    disconnected, loop = paho.on_disconnect, asyncio.get_running_loop()

    def give_up() -> None:
        if not client._connected.done():  # noqa: SLF001 -- aiomqtt would wait for its timeout
            client._connected.set_exception(MqttError(problems[-1] if problems else "the broker closed the connection"))  # noqa: SLF001
            client._connected.exception()  # noqa: SLF001 -- nobody waits where the attempt has failed already

    def note_problem(_client: Any, _userdata: Any, level: int, text: str) -> None:
        if level == MQTT_LOG_ERR:
            problems.append(text)

    def note_lost(*given: Any) -> None:
        loop.call_soon_threadsafe(give_up)
        disconnected(*given)

    paho.on_connect, paho.on_disconnect = note, note_lost
    paho.on_log = note_problem
    with mqtt_errors(options):
        try:
            await client.__aenter__()
        except BaseException:
            # aiomqtt leaves it open: a broker that answers late would take it for the owner of the session.
            paho._sock_close()  # noqa: SLF001 -- of all ways to close it, the one that waits for no answer
            raise
    opened = made(options, client, connack)
    for given in early:
        opened._received(*given)  # noqa: SLF001 -- of its own module
    return opened
