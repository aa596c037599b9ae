"""Events that go on in a later part of their pipeline."""

import dataclasses
from collections import Counter

from services.process_api.pipeline.part import Part, part_in
from services.process_api.worker.outputs import Tally
from shared.bus.protocol import TopicPartition
from shared.bus.topics import TopicsOptions
from tests.unit.services.process_api.making import batch, event, pipeline, record


def test_an_event_whose_part_is_gone_is_rejected() -> None:
    made = batch(pipeline())
    plain = record(event({}))
    made.add([dataclasses.replace(plain, headers=(*plain.headers, Part("totals", 1).header()))])
    (reject,) = made.rejects
    assert reject.error == "the pipeline 'totals' has no part 2 any more, in which the event goes on"
    assert (reject.pipeline, reject.part, made.unclaimed) == ("", Part("totals", 1).header()[1], 1)


def test_what_leaves_a_part_is_in_the_transaction_of_its_input() -> None:
    made = batch(pipeline({"repartition": "customer"}))
    made.add([record(event({"customer": "C-9"}), 4)])
    position = TopicPartition("trelay.ingest", 0)
    transaction = made.transaction(TopicsOptions(), "trelay.process", position, 5)
    ((topic, (internal,)),) = transaction.records.items()
    assert (topic, internal.key, transaction.offsets) == ("trelay.ingest", b"C-9", {position: 5})
    assert part_in(internal.headers) == Part("orders", 1, "", 0, 0, 4)
    counted = Tally(taken=1, forwarded=Counter({1: 1}))
    assert (made.tallies["orders"], made.size) == (counted, len(internal.value or b""))
    # The next part publishes it, and does not count it as taken once more.
    later = batch(pipeline({"repartition": "customer"}))
    later.add([dataclasses.replace(record(internal.value, 9), headers=internal.headers)])
    counted = Tally(published=1, continued=Counter({1: 1}))
    assert (later.tallies["orders"], [each.key for each in later.outputs]) == (counted, [b"orders"])
