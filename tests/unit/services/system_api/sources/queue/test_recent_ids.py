"""A window of ids recognises repeats, also after a restart."""

import random

import pytest

from services.system_api.sources.queue.message import Message
from services.system_api.sources.queue.recent_ids import RecentIds
from shared.errors import SettingsError

OF = "queue 'orders'"


def message(number: int, body: bytes = b"1") -> Message:
    return Message(f"id-{number}", body)


class Saved(dict[str, bytes]):
    """A checkpoint, and how many bytes were written to it."""

    written = 0

    def save(self, ids: RecentIds) -> None:
        for part, value in ids.take_checkpoint().items():
            if value is None:
                self.pop(part, None)
            else:
                self[part] = value
                self.written += len(value)


@pytest.mark.parametrize("batch", [1, 7, 300, 5000])
def test_the_newest_ids_are_known_after_each_restart(batch: int) -> None:
    saved, total = Saved(), 20_000 if batch > 1 else 1500
    ids = RecentIds(OF, 1000, saved)
    rng = random.Random(batch)
    for first in range(0, total, batch):
        for number in range(first, first + batch):
            assert not ids.published(message(number))
            ids.add(message(number))
        saved.save(ids)
        if rng.random() < 0.1:
            ids = RecentIds(OF, 1000, saved)
    end = first + batch
    again = RecentIds(OF, 1000, saved)
    assert all(again.published(message(number)) for number in range(end - 1000, end))
    assert sum(again.published(message(number)) for number in range(end)) <= 1000 + 5000
    assert len(saved) < 20


def test_a_batch_writes_little() -> None:
    saved = Saved()
    ids = RecentIds(OF, 10_000, saved)
    for number in range(2000):
        ids.add(message(number))
        saved.save(ids)
    assert saved.written / 2000 < 20 * 19, "each id is written as often as the logarithm of their number"


def test_another_body_is_another_message() -> None:
    ids = RecentIds(OF, 10, {})
    ids.add(message(1, b"1"))
    assert ids.published(message(1, b"1"))
    assert not ids.published(message(1, b"2"))


def test_a_message_without_an_id_is_never_a_repeat() -> None:
    ids = RecentIds(OF, 10, {})
    nameless = Message("digest", b"1", identified=False)
    ids.add(nameless)
    assert not ids.published(nameless)
    assert set(ids.take_checkpoint()) == {""}


def test_a_window_of_none_remembers_nothing_for_long() -> None:
    saved = Saved()
    ids = RecentIds(OF, 0, saved)
    ids.add(message(1))
    saved.save(ids)
    assert set(saved) == {""}
    assert not ids.published(message(1))


@pytest.mark.parametrize(
    ("checkpoint", "fault"),
    [
        ({"": b"17"}, "not that of"),
        ({"i0": b"[]"}, "not that of"),
        ({"": b'{"v":1,"of":"queue \'orders\'"}', "file": b"1"}, "not that of"),
        ({"": b'{"v":1,"of":"queue \'others\'"}'}, "others"),
        ({"": b'{"v":9,"of":"queue \'orders\'"}'}, "version 9"),
    ],
)
def test_the_checkpoint_of_another_source_is_refused(checkpoint: dict[str, bytes], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        RecentIds(OF, 10, checkpoint)
