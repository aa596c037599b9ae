import copy
import json
from pathlib import Path

import jsonschema_rs
import pytest

from services.experience_api.api.asyncapi import asyncapi
from services.experience_api.hub import close_codes
from services.experience_api.refusals import Refused
from services.experience_api.sessions.messages.sent import read_sent
from services.experience_api.stream import control_events
from shared.bus.topics import TopicsOptions

DOCUMENT = asyncapi(TopicsOptions(prefix="shop"))

SCHEMA = json.loads((Path(__file__).parent / "specification" / "asyncapi-3.0.0.json").read_text())

OWN = (
    "connected",
    "gap",
    "subscribed",
    "oversized",
    "refused",
    "draining",
    "heartbeat",
    "watermark",
    "snapshot",
    "accepted",
    "rejected",
)


def test_every_close_code_says_whether_to_reconnect() -> None:
    found = [tuple(each.values()) for each in DOCUMENT["channels"]["stream"]["x-close-codes"]]
    assert found == [(each.code, each.name, each.reconnect) for each in close_codes.ALL]


def test_the_stream_delivers_events_and_the_relays_own() -> None:
    delivered = {message["$ref"].rpartition("/")[2] for message in DOCUMENT["operations"]["deliver"]["messages"]}
    own = {f"trelay_{name}" for name in OWN}
    assert delivered == {"event"} | own
    kinds = [
        message["payload"]["allOf"][1]["properties"]
        for message in (DOCUMENT["components"]["messages"][name] for name in sorted(own))
    ]
    assert control_events.CONNECTED in {properties["type"]["const"] for properties in kinds}


def test_a_client_finds_the_parameters_and_what_it_may_send() -> None:
    stream = DOCUMENT["channels"]["stream"]
    query = jsonschema_rs.validator_for(stream["bindings"]["ws"]["query"])
    assert query.is_valid({"channels": "a", "cursor": "AQ", "heartbeat": "answer", "snapshot": "true"})
    assert not query.is_valid({"heartbeat": "yes"})
    assert not query.is_valid({"chanels": "a"})
    sent = {message["$ref"].rpartition("/")[2] for message in DOCUMENT["operations"]["send"]["messages"]}
    assert sent == {"heartbeat_answer", "message", "inbound"} <= stream["messages"].keys()
    message = jsonschema_rs.validator_for(DOCUMENT["components"]["messages"]["message"]["payload"])
    for data in ({"data": {"celsius": 21.5}}, {"data": None}, {"data_base64": "AA=="}):
        sending = {"type": "trelay.message", "id": "reading-17", **data}
        assert message.is_valid(sending)
        assert read_sent(json.dumps(sending).encode()).id == "reading-17"
    for members in ('"n": 1', '"data": 1, "data_base64": "AA=="', '"data": 1, "more": 1', '"data": 1, "id": ""'):
        text = f'{{"type": "trelay.message", "id": "reading-17", {members}}}'
        assert not message.is_valid(json.loads(text))
        with pytest.raises(Refused):
            read_sent(text.encode())


def test_the_topics_have_the_names_of_the_settings() -> None:
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    assert addresses == {"/ws/publish", "shop.ingest", "shop.publish", "shop.inbound"}


def test_the_document_is_valid_by_the_schema_of_the_specification() -> None:
    validator = jsonschema_rs.Draft7Validator(SCHEMA)
    validator.validate(DOCUMENT)
    wrong = copy.deepcopy(DOCUMENT)
    wrong["operations"]["deliver"]["action"] = "shout"
    with pytest.raises(jsonschema_rs.ValidationError):
        validator.validate(wrong)
