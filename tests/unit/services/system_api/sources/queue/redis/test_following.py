"""Whether a stream is the one of the checkpoint, and what of it is lost."""

from typing import Any

import pytest

from services.system_api.sources.queue.positions import Mark
from services.system_api.sources.queue.redis.entries import EntryId
from services.system_api.sources.queue.redis.following import (
    StreamState,
    Unread,
    begin,
    follow,
    refuse_risks,
    risks,
    state_of,
)
from services.system_api.sources.queue.redis.options import RedisSourceOptions, Risk
from shared.errors import SettingsError

STATE = StreamState(length=3, first=(3, 0), last=(9, 0), added=10, deleted=(0, 0))


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
        "first-entry": (b"3-0", {}),
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
    assert follow(STATE, known, options(), group_missing=True) == [], "a group that was destroyed is created again"
    assert known.mark == (5, 0)
    assert follow(STATE, mark(None), options(), group_missing=False) == []


def test_a_stream_that_was_created_again_is_read_from_its_beginning() -> None:
    known = mark()
    (loss,) = follow(STATE._replace(added=2), known, options(), group_missing=True)
    assert "was deleted and created again: what it held after entry 5-0 is lost" in loss.text
    assert (known.mark, known.prefix) == (None, "r1.")


@pytest.mark.parametrize("length", [4, 5, 10, 12])
def test_a_stream_that_was_created_again_with_more_entries_has_counted_too_few(length: int) -> None:
    """Where it has counted more than both, entries may have been trimmed as well."""
    known = mark((9, 0))
    counting(known)
    again = StreamState(length=length, first=(13, 0), last=(90, 0), added=max(10, length), deleted=(0, 0))
    (loss,) = follow(again, known, options(), group_missing=True)
    assert "was deleted and created again: what it held after entry 9-0 is lost" in loss.text
    assert (known.mark, known.prefix) == (None, "r1.")


def test_a_stream_whose_group_was_destroyed_is_the_same_where_its_count_fits() -> None:
    known = mark((9, 0))
    counting(known)
    same = StreamState(length=4, first=(13, 0), last=(90, 0), added=14, deleted=(0, 0))
    assert follow(same, known, options(), group_missing=True) == []
    assert known.mark == (9, 0)


def test_a_stream_that_ends_before_the_mark_was_restored() -> None:
    known = mark()
    (loss,) = follow(STATE._replace(last=(4, 2)), known, options(), group_missing=False)
    assert "ends at entry 4-2, and 5-0 was published" in loss.text
    assert (known.mark, known.prefix) == ((4, 2), "r1.")


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
