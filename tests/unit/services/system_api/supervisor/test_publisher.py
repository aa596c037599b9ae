"""The transaction that one batch becomes."""

import pytest

from services.system_api.operations.checkpoints import OwnPart
from services.system_api.sources.source import Batch
from services.system_api.supervisor.publisher import (
    BusUnavailable,
    bus_errors,
    compose,
)
from shared.bus.protocol import Outgoing
from shared.bus.topics import TopicsOptions
from shared.errors import Unavailable
from shared.events.dead_letter import Reject

TOPICS = TopicsOptions()


def test_events_rejects_and_checkpoint_are_one_transaction() -> None:
    event, reject = Outgoing(b"k", b"v"), Reject("orders:1", b"x", "bad", "source", "source:f:1")
    batch = Batch([event], [reject], {"": b"1", "7": b"2", "6": None})
    own = OwnPart(rows=2, published=1, rejected=1)
    transaction = compose("orders", TOPICS.publish, TOPICS, batch, own)
    assert transaction.records == {
        TOPICS.publish: [event],
        TOPICS.dead_letter: [reject.record()],
        TOPICS.checkpoints: [
            Outgoing(b"orders", b"1"),
            Outgoing(b"orders/7", b"2"),
            Outgoing(b"orders/6", None),
            Outgoing(b"orders/~trelay", b'{"rows":2,"published":1,"rejected":1}'),
        ],
    }


def test_an_unavailable_bus_is_no_unavailable_upstream() -> None:
    with pytest.raises(BusUnavailable, match="no broker") as caught, bus_errors():
        raise Unavailable("no broker")
    assert not isinstance(caught.value, Unavailable)
