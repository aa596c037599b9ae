"""What one batch becomes on the bus."""

import pytest

from services.system_api.sources.source import Batch
from services.system_api.supervisor.publisher import BusAway, bus_errors, checkpoint_key, checkpoint_part, compose
from shared.bus.protocol import Outgoing
from shared.bus.topics import TopicsOptions
from shared.errors import Unavailable
from shared.events.dead_letter import Reject

TOPICS = TopicsOptions()


def test_events_rejects_and_places_are_one_transaction() -> None:
    event, reject = Outgoing(b"k", b"v"), Reject("orders:1", b"x", "bad", "source", "source:f:1")
    batch = Batch([event], [reject], {"": b"1", "7": b"2", "6": None})
    transaction = compose("orders", TOPICS.publish, TOPICS, batch)
    assert transaction.records == {
        TOPICS.publish: [event],
        TOPICS.dead_letter: [reject.record()],
        TOPICS.checkpoints: [
            Outgoing(b"orders", b"1"),
            Outgoing(b"orders/7", b"2"),
            Outgoing(b"orders/6", None),
        ],
    }


@pytest.mark.parametrize("part", ["", "7", "a/b"])
def test_a_part_has_one_key_and_a_key_one_part(part: str) -> None:
    assert checkpoint_part("orders", checkpoint_key("orders", part)) == part


def test_the_bus_is_told_apart_from_the_upstream() -> None:
    with pytest.raises(BusAway, match="no broker") as caught, bus_errors():
        raise Unavailable("no broker")
    assert not isinstance(caught.value, Unavailable)
