"""Events as state."""

import json

import pytest

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.stateful.stored import Stored
from services.process_api.state.step_state import Moment
from shared.events.event import Channel
from tests.unit.services.process_api.making import event, without_data

MOMENT = Moment(provenance=b"orders 5 id")


@pytest.mark.parametrize("value", [event({"big": 12345678901234567890}), event([]), without_data(data_base64="AAE=")])
@pytest.mark.parametrize("spliced", [True, False])
def test_an_event_is_as_it_was(value: bytes, spliced: bool) -> None:
    draft = Draft(value, spliced=spliced)
    again = Stored.of(draft, MOMENT).draft()
    assert json.loads(again.encoded(b'"c"')) == json.loads(draft.encoded(b'"c"'))
    assert again.data_text() == draft.data_text()
    assert again.channel is None
    assert again.attribute("channel") is None


def test_both_channels_are_kept() -> None:
    draft = Draft(event(1, channel="own"))
    assert Stored.of(draft, MOMENT).draft().attribute("channel") == "own"
    draft.channel = Channel("set")
    stored = Stored.of(draft, MOMENT)
    assert (stored.draft().channel, stored.draft().attribute("channel")) == ("set", "own")
    assert dict(stored.headers)["trelay-provenance"] == b"orders 5 id"


@pytest.mark.parametrize("key", [b"C-1", b"another", b""])
def test_the_key_of_its_record_is_kept(key: bytes) -> None:
    stored = Stored.of(Draft(event(1)), Moment(key=key))
    assert stored.key(stored.draft()) == key
    assert (stored.kept_key is None) is (key == b"C-1"), "which is the subject"
