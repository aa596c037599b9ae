"""Dead letters of records; `test_batch` has those of whole batches."""

import dataclasses

from services.process_api.worker.rejects import fitting, reject_of
from shared.bus.protocol import RECORD_LIMIT, size_of
from shared.events.dead_letter import KEPT_BYTES, Content, Replay
from tests.unit.services.process_api.making import event, record

PROVENANCE = b"orders 1700000000000 orders:7"


def test_a_dead_letter_keeps_what_its_replay_needs() -> None:
    reject = reject_of(record(event(1), 4), "no", PROVENANCE, "orders@1", 2)
    assert (reject.id, reject.value, reject.origin) == ("orders:7", event(1), "trelay.ingest/0/4")
    assert (reject.content, reject.key, reject.provenance) == (Content.EVENT, b"C-1", PROVENANCE)
    assert (reject.pipeline, reject.attempts, reject.replay_of) == ("orders@1", 2, "")


def test_a_replay_adds_its_attempts_and_stays_one_of_its_pipeline() -> None:
    plain = record(event(1), 4)
    replayed = dataclasses.replace(plain, headers=(*plain.headers, *Replay("0-3", 2, "orders@1", "0-2").headers()))
    reject = reject_of(replayed, "no", PROVENANCE, "", 1)
    assert (reject.pipeline, reject.attempts, reject.replay_of, reject.edited) == ("orders@1", 3, "0-3", "0-2")
    assert reject_of(replayed, "no", PROVENANCE, "orders@2", 1).pipeline == "orders@2"


def test_a_record_without_an_id_is_known_by_its_place() -> None:
    assert reject_of(record(b"x", source=None), "no", None, "", 1).id == "trelay.ingest/0/0"
    assert reject_of(record(None), "no", b"orders 1 " + b"i" * 2000, "", 1).id == "trelay.ingest/0/0"


def test_what_is_too_large_keeps_its_beginning() -> None:
    small = reject_of(record(event(1)), "no", PROVENANCE, "", 1)
    assert fitting(small) is small
    assert fitting(small, truncated=True).truncated == len(event(1))
    large = fitting(dataclasses.replace(small, value=b"x" * RECORD_LIMIT, provenance=b"p" * 2000))
    assert (large.value, large.truncated) == (b"x" * KEPT_BYTES, RECORD_LIMIT)
    assert (large.key, large.provenance) == (b"C-1", None)
    assert size_of(large.record()) < RECORD_LIMIT
