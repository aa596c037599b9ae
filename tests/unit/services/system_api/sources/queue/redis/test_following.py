"""Whether a stream is the one of the checkpoint, and what of it is lost."""

from typing import Any

import pytest

from services.system_api.sources.queue.positions import LAST, Mark
from services.system_api.sources.queue.redis.entries import EntryId, digest_of
from services.system_api.sources.queue.redis.following import (
    Found,
    StreamState,
    Unread,
    begin,
    first_known,
    follow,
    refuse_risks,
    risks,
    state_of,
)
from services.system_api.sources.queue.redis.options import RedisSourceOptions, Risk
from shared.errors import SettingsError

STATE = StreamState(length=3, first=(3, 0), last=(9, 0), added=10, deleted=(0, 0), first_fields={b"k": b"3"})
NOTHING = Found(last=None, first=None, unread_group=True)
"""Neither the entries nor the group are there."""
GROUP = NOTHING._replace(unread_group=False)


def options(**given: Any) -> RedisSourceOptions:
    return RedisSourceOptions.model_validate({"kind": "redis", "url": "redis://h", "stream": "s", "type": "t", **given})


def mark(position: EntryId | None = (5, 0), state: StreamState = STATE) -> Mark[EntryId]:
    made: Mark[EntryId] = Mark()
    begin(made, position, state)
    made.changed = False
    return made


def test_the_state_is_that_of_the_server() -> None:
    info: dict[str, Any] = {
        "length": 3,
        "first-entry": (b"3-0", {b"k": b"3"}),
        "last-generated-id": b"9-0",
        "entries-added": 10,
        "max-deleted-entry-id": b"0-0",
    }
    assert state_of(info) == STATE
    assert state_of(info | {"first-entry": None}).first is None
    with pytest.raises(SettingsError, match=r"^url: .* expected Redis 7\.0"):
        state_of({"length": 1})


def test_the_same_stream_continues() -> None:
    known = mark()
    assert follow(STATE, known, options(), NOTHING) == [], "a group that was destroyed is created again"
    assert known.mark == (5, 0)
    assert follow(STATE, mark(None), options(), GROUP) == []


def test_a_stream_that_was_created_again_is_read_from_its_beginning() -> None:
    known = mark()
    (loss,) = follow(STATE._replace(added=2), known, options(), NOTHING)
    assert "was deleted and created again: what it held after entry 5-0 is lost" in loss.text
    assert (known.mark, known.prefix) == (None, "r1.")


@pytest.mark.parametrize("length", [4, 5, 10, 12])
def test_a_stream_that_was_created_again_with_more_entries_has_counted_too_few(length: int) -> None:
    """Where it has counted more than both, entries may have been trimmed as well."""
    known = mark((9, 0))
    counting(known)
    again = StreamState(length=length, first=(13, 0), last=(90, 0), added=max(10, length), deleted=(0, 0))
    (loss,) = follow(again, known, options(), NOTHING)
    assert "was deleted and created again: what it held after entry 9-0 is lost" in loss.text
    assert (known.mark, known.prefix) == (None, "r1.")


def test_a_stream_whose_group_was_destroyed_is_the_same_where_its_count_fits() -> None:
    known = mark((9, 0))
    counting(known)
    same = StreamState(length=4, first=(13, 0), last=(90, 0), added=14, deleted=(0, 0))
    assert follow(same, known, options(), NOTHING) == []
    assert known.mark == (9, 0)


def test_a_stream_that_ends_before_the_mark_was_restored() -> None:
    known = mark()
    (loss,) = follow(STATE._replace(last=(4, 2), added=9), known, options(), GROUP)
    assert "ends at entry 4-2, and 5-0 was published" in loss.text
    assert (known.mark, known.prefix) == ((4, 2), "r1.")


def published(position: EntryId = (5, 0)) -> Mark[EntryId]:
    known = mark(position)
    known.facts[LAST] = "of the last"
    return known


def replaced(state: StreamState, known: Mark[EntryId], found: Found) -> bool:
    """Whether a stream is taken for another one; what continues has no loss."""
    losses = follow(state, known, options(), found)
    again = ["created again" in loss.text for loss in losses] == [True]
    assert again == (known.mark is None), losses
    return again


def test_the_first_entry_is_known() -> None:
    assert first_known(mark()) == (3, 0)
    empty = STATE._replace(length=0, first=None, first_fields={})
    known = mark(None, empty)
    assert first_known(known) is None
    unread = Unread(known, options())
    unread.note([(3, 0)], STATE, end=True)
    assert first_known(known) == (3, 0)
    unread.note([], STATE._replace(first_fields={b"another": b"read"}), end=True)
    assert known.facts["first"] == digest_of(STATE.first_fields), "an entry never changes"
    unread.note([], empty, end=True)
    assert first_known(known) == (3, 0)


@pytest.mark.parametrize("unread_group", [True, False])
@pytest.mark.parametrize("added", [2, 20])
def test_an_entry_that_differs_is_of_another_stream(unread_group: bool, added: int) -> None:
    state, first = STATE._replace(added=added), digest_of(STATE.first_fields)
    assert replaced(state, published(), Found("of another", None, unread_group))
    assert replaced(state, published(), Found(None, "of another", unread_group))
    assert replaced(state, published(), Found("of the last", "of another", unread_group))
    assert not replaced(state, published(), Found("of the last", None, unread_group))
    assert not replaced(state, published(), Found(None, first, unread_group))


def test_a_stream_that_never_had_the_last_entry_is_another_one_if_nobody_has_read_its_group() -> None:
    assert replaced(STATE, published(), NOTHING)
    assert not replaced(STATE, published(), GROUP), "a server that was restored may have lost it"
    assert not replaced(STATE._replace(deleted=(5, 0)), published(), NOTHING), "it was deleted"
    assert not replaced(STATE, mark(), NOTHING), "the mark may be between entries"
    assert replaced(STATE._replace(added=9, deleted=(5, 0)), published(), NOTHING)


def test_a_stream_that_ends_before_the_mark_and_has_counted_no_fewer_is_another_one() -> None:
    ends = STATE._replace(last=(4, 2))
    assert replaced(ends, published(), GROUP)
    assert replaced(ends._replace(added=9), published(), NOTHING)
    (loss,) = follow(ends._replace(added=9), known := published(), options(), GROUP)
    assert "ends at entry 4-2" in loss.text
    assert LAST not in known.facts
    (loss,) = follow(ends, published(), options(), Found(None, digest_of(STATE.first_fields), unread_group=True))
    assert "ends at entry 4-2" in loss.text


def counting(known: Mark[EntryId]) -> Unread:
    """Return what has read all 10 entries of `STATE`, the last three of which are left."""
    unread = Unread(known, options())
    unread.note([], STATE, end=True)
    return unread


def test_what_is_trimmed_unread_is_counted() -> None:
    known = mark((9, 0))
    unread = counting(known)
    assert unread.check(STATE) == []
    # Five more were added, and all but the last two of them trimmed.
    trimmed = StreamState(length=2, first=(13, 0), last=(14, 0), added=15, deleted=(0, 0))
    (loss,) = unread.check(trimmed)
    assert "3 entries after 9-0 were removed before they were read" in loss.text
    assert known.changed
    assert unread.check(trimmed) == []
    unread.note([(13, 0)], trimmed, end=False)
    assert unread.check(trimmed) == []
    assert unread.check(trimmed._replace(length=1, first=(14, 0))) == [], "what was read may be trimmed"
    unread.note([(14, 0)], trimmed, end=True)
    assert unread.check(trimmed._replace(length=0, first=None)) == []
    (loss,) = unread.check(trimmed._replace(length=0, first=None, added=16))
    assert "1 entries after 14-0" in loss.text


def test_the_count_is_kept_with_the_position_that_it_belongs_to() -> None:
    known = mark((9, 0))
    counting(known)
    trimmed = StreamState(length=0, first=None, last=(14, 0), added=15, deleted=(0, 0))
    assert len(Unread(known, options()).check(trimmed)) == 1
    known.mark = (8, 0)
    assert Unread(known, options()).check(trimmed) == [], "it is not known how many were read"


def test_what_is_deleted_unread_between_others_is_reported_once() -> None:
    known = mark((5, 0))
    unread = Unread(known, options())
    unread.note([], STATE, end=False)
    assert unread.check(STATE._replace(deleted=(7, 0))) == [], "the count is not known"
    unread.note([], STATE, end=True)
    assert unread.check(STATE._replace(deleted=(5, 0))) == []
    (loss,) = unread.check(STATE._replace(deleted=(7, 0)))
    assert "entries up to 7-0 after 5-0 were removed" in loss.text
    unread.note([(8, 0)], STATE, end=True)
    assert unread.check(STATE._replace(deleted=(7, 0))) == []


def test_servers_and_streams_that_lose_entries() -> None:
    full = {"maxmemory": 1, "maxmemory_policy": "allkeys-lru", "aof_enabled": 0}
    assert set(risks(full, -1)) == {Risk.NO_AOF, Risk.EVICTION}
    assert set(risks({"aof_enabled": 1, "maxmemory": 1, "maxmemory_policy": "volatile-lru"}, 60)) == {
        Risk.EVICTION,
        Risk.EXPIRES,
    }
    assert risks({"aof_enabled": 1, "maxmemory": 1, "maxmemory_policy": "volatile-lru"}, -1) == {}
    assert risks({"aof_enabled": 1, "maxmemory": 0, "maxmemory_policy": "allkeys-lru"}, -1) == {}
    assert set(risks({"aof_enabled": 1, "maxmemory": 1, "maxmemory_policy": "noeviction"}, 0)) == {Risk.EXPIRES}


def test_they_are_refused_unless_that_is_accepted() -> None:
    found = risks({"aof_enabled": 0}, 60)
    with pytest.raises(SettingsError, match=r"^stream: 's' loses entries .* accept: \[no_aof, expires\]"):
        refuse_risks(found, options())
    refuse_risks(found, options(accept=["no_aof", "expires"]))
