"""Rows emitted above the horizon are remembered completely, saved in few parts, and removed in time."""

import random

from services.system_api.sources.table.entries import Entries
from shared.bus.protocol import RECORD_LIMIT


def kept(saved: dict[str, bytes], changes: dict[str, bytes | None]) -> None:
    for name, value in changes.items():
        if value is None:
            saved.pop(name, None)
        else:
            saved[name] = value


def test_one_row_per_batch_makes_few_parts_and_writes_little() -> None:
    entries: Entries[int] = Entries()
    saved: dict[str, bytes] = {}
    written = 0
    for number in range(10_000):
        changes = entries.add([(number, f"version {number}")])
        written += sum(len(value or b"") for value in changes.values())
        kept(saved, changes)
    assert len(saved) < 25
    size = sum(map(len, saved.values()))
    assert size < 300_000
    assert written < 20 * size


def test_a_large_batch_is_split_into_parts_that_fit_a_record() -> None:
    entries: Entries[int] = Entries()
    saved = entries.add([(number, f"version {number}") for number in range(100_000)])
    assert max(len(value or b"") for value in saved.values()) < 100_000


def test_long_keys_fit_a_record_too() -> None:
    entries: Entries[int] = Entries()
    saved: dict[str, bytes] = {}
    for number in range(0, 4000, 500):
        fresh = [(each, f"{each} " + "\n" * 2700) for each in range(number, number + 500)]
        kept(saved, entries.add(fresh))
    assert max(map(len, saved.values())) < RECORD_LIMIT
    again: Entries[int] = Entries.loaded(saved, entries.next_part)
    assert again.known == entries.known


def test_loading_restores_the_entries_after_any_changes() -> None:
    rng = random.Random(7)
    entries: Entries[int] = Entries()
    saved: dict[str, bytes] = {}
    model: dict[str, int] = {}
    for step in range(2000):
        fresh = [(step + rng.randrange(300), f"v {step}.{number}") for number in range(rng.randrange(4))]
        position = step + rng.randrange(-50, 50)
        changes = entries.forget_below(position)
        changes |= entries.add(fresh) if fresh else {}
        kept(saved, changes)
        model |= {identity: order for order, identity in fresh}
        model = {
            identity: order for identity, order in model.items() if order >= position or (order, identity) in fresh
        }
        assert entries.known == model
        if step % 100 == 0:
            again: Entries[int] = Entries.loaded(saved, entries.next_part)
            assert again.known.items() >= model.items()
            again.forget_below(position)
            entries = again
            model = dict(again.known)
    kept(saved, entries.forget_below(10_000))
    assert saved == {}
    assert entries.known == {}
