"""Echoes messages over the code that reads those of subscribers, for the cases of Autobahn's test suite.

    python -m tests.integration.services.experience_api.hub.echo 9001
    kosoku -p 4 127.0.0.1:9001

`kosoku` (PyPI) runs Autobahn's own cases, in place of its fuzzing client, which needs Python 2.7. Version 0.1.0 hashes
text in its cases of compression (12 and 13), where bytes are needed: encode it there.

Of the 517 cases, all of sections 1 to 5, 7, 10, 12 and 13 pass; 6.4.1 to 6.4.4 are not strict, as a message is judged
once it is whole; 9.7.1 and 9.8.1 send a thousand empty messages, which end a connection here (4507). `test_autobahn.py`
runs all but 9, 12 and 13, and `test_rfc6455.py` has a case of each kind for the service itself.
"""

import sys
import uuid

import uvloop
from aiohttp import WSMessage, WSMsgType, web

from services.experience_api.hub.audience import Interest, Subscriber
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.outbox import Outbox
from services.experience_api.hub.progress import descriptor
from services.experience_api.hub.websocket import Socket
from services.experience_api.stream.options import DeliveryOptions
from services.experience_api.wire.deflate import PLAIN
from services.experience_api.wire.frames import text_frame

_LARGEST = 64 * 2**20
_BINARY = 0x03
"""What the first byte of a frame of bytes differs in from that of text."""
_OPTIONS = DeliveryOptions.model_validate({"compression": {"enabled": True}})


class Echo(Socket):
    """Sends each message back, as the kind that it is."""

    async def receive(self, timeout: float | None = None) -> WSMessage:
        """Receive a message."""
        message = await super().receive(timeout)
        if message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
            frame = text_frame(message.data.encode() if message.type is WSMsgType.TEXT else message.data)
            first = frame[0] ^ (0 if message.type is WSMsgType.TEXT else _BINARY)
            self._connection.outbox.offer(bytes((first,)) + frame[1:])
        return message


class Handler:
    """Takes what `Echo` has sent back."""

    async def on_message(self, connection: Connection, message: bytes) -> None:
        """Do nothing."""

    def on_oversized(self, connection: Connection) -> None:
        """Do nothing: the connection ends."""


async def echo(request: web.Request) -> web.StreamResponse:
    """Serve a connection, as `Delivery.serve` does."""
    transport = request.transport
    assert transport is not None
    offers, user_agent = request.headers.getall("Sec-WebSocket-Extensions", []), request.headers.get("User-Agent", "")
    agreed = _OPTIONS.compression.agree(offers, user_agent)
    outbox = Outbox(transport, descriptor(transport), 4 * _LARGEST, PLAIN if agreed is None else agreed.window)
    subscriber = Subscriber(uuid.uuid4(), "autobahn", Interest(["**"]), may_send=True)
    peer = transport.get_extra_info("socket")
    connection = Connection(subscriber, outbox, transport, request.protocol, lambda _: None, peer)
    socket = Echo(
        connection,
        Handler(),
        protocols=(),
        extension=None if agreed is None else agreed.answer,
        limit=_LARGEST,
        close_timeout=_OPTIONS.close_timeout,
        slow_close_timeout=_OPTIONS.close_timeout,
    )
    await socket.prepare(request)
    transport.set_protocol(connection)
    await socket.run()
    return socket


def main() -> None:
    """Serve until interrupted."""
    app = web.Application()
    app.router.add_get("/", echo)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), loop=uvloop.new_event_loop(), access_log=None)


if __name__ == "__main__":
    main()
