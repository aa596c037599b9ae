"""What JetStream delivers, as messages."""

from unittest.mock import Mock

import pytest
from nats.aio.msg import Msg

from services.system_api.sources.queue.nats.client import UnreadableHeaders
from services.system_api.sources.queue.nats.messages import delivery_of, message_of

REPLY = "$JS.ACK.S.c.2.7.9.1795880518312269499.15"


def test_the_reply_subject_tells_the_place_of_a_message() -> None:
    delivery = delivery_of(REPLY)
    assert delivery == (2, 7, 9, 1795880518.3122694, 15)
    assert delivery_of("$JS.ACK.domain.account.S.c.2.7.9.1795880518312269499.15") == delivery
    assert delivery_of("$JS.ACK.domain.account.S.c.2.7.9.1795880518312269499.15.token") == delivery


def test_a_message() -> None:
    headers = {"Content-Type": "text/plain", "a": "b"}
    msg = Msg(_client=Mock(), subject="orders.eu", reply=REPLY, data=b"1", headers=headers)
    message = message_of(msg, delivery_of(REPLY), "r1.")
    assert (message.place, message.key, message.body, message.content_type) == ("r1.7", "orders.eu", b"1", "text/plain")
    assert (message.position, message.deliveries, message.token) == (7, 2, REPLY)
    assert message_of(Msg(_client=Mock(), subject="s", reply=REPLY, data=b""), delivery_of(REPLY), "").headers == {}


@pytest.mark.parametrize(("limit", "final"), [(-1, False), (3, False), (2, True), (1, True)])
def test_the_last_delivery_of_a_consumer_that_gives_messages_up(limit: int, final: bool) -> None:
    msg = Msg(_client=Mock(), subject="s", reply=REPLY, data=b"1")
    assert message_of(msg, delivery_of(REPLY), "", limit).final == ("delivers it no more" if final else None)


def test_a_message_whose_headers_cannot_be_read_is_no_event() -> None:
    msg = Msg(_client=Mock(), subject="s", reply=REPLY, data=b"1", headers=UnreadableHeaders())
    message = message_of(msg, delivery_of(REPLY), "")
    assert (message.body, message.headers) == (b"1", {})
    assert "the headers cannot be read" in (message.fault or "")
