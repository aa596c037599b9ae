"""What a packet becomes."""

from services.system_api.sources.queue.mqtt.messages import Delivery, digest_of, message_of
from tests.unit.services.system_api.sources.queue.messages import event_of

DELIVERY = Delivery("a/b", b"1", 7, again=False, content_type=None, properties={"id": "x-1"})


def test_a_message_without_an_id_has_that_of_its_content() -> None:
    message = message_of(DELIVERY, None, "token")
    assert (message.place, message.identified, message.deliveries) == (digest_of(DELIVERY), False, 1)
    assert (message.key, message.headers, message.token) == ("a/b", {"id": "x-1"}, "token")
    others = [
        DELIVERY._replace(topic="a/c"),
        DELIVERY._replace(payload=b"2"),
        DELIVERY._replace(properties={}),
    ]
    assert len({digest_of(each) for each in [DELIVERY, *others]}) == 4
    assert digest_of(DELIVERY._replace(packet=8, again=True)) == digest_of(DELIVERY)


def test_a_user_property_identifies_a_message() -> None:
    message = message_of(DELIVERY._replace(again=True), "id", None)
    assert (message.place, message.identified, message.deliveries) == ("x-1", True, 2)
    assert not message_of(DELIVERY, "other", None).identified
    unprintable = message_of(DELIVERY._replace(properties={"id": "a\nb"}), "id", None)
    assert unprintable.identified
    assert unprintable.place == digest_of(DELIVERY._replace(properties={"id": "a\nb"}))


def test_cloudevents_in_both_modes() -> None:
    names = {"specversion": "1.0", "id": "i", "source": "/s", "type": "theirs"}
    event = event_of(message_of(DELIVERY._replace(properties=names), None, None), cloudevents=True)
    assert (event["id"], event["type"], event["subject"]) == ("i", "theirs", "a/b")
    whole = b'{"specversion":"1.0","id":"i","source":"/s","type":"theirs","data":1}'
    structured = DELIVERY._replace(payload=whole, content_type="application/cloudevents+json")
    assert event_of(message_of(structured, None, None), cloudevents=True)["data"] == 1
