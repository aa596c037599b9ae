"""Whether a stream is still that of the checkpoint, what it has lost, and whether it loses entries. No I/O.

A stream has no id of its own. So the checkpoint holds digests of the last entry that was published and of the first one
in the stream: an entry never changes, and one that differs is of another stream. Where neither is there any more, the
counts decide. A stream counts the entries that were ever added, and knows its last id and the greatest id that was
deleted (trimming does not change that one). One that was deleted and created again has counted fewer, or has a group
that nobody has read.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from services.system_api.sources.queue.positions import LAST, Mark
from services.system_api.sources.queue.redis.entries import EntryId, digest_of, id_text, parse_id
from services.system_api.sources.queue.redis.options import RedisSourceOptions, Risk
from services.system_api.sources.source import Loss
from shared.errors import SettingsError

_ADDED = "added"
"""The fact that holds how many entries were ever added."""
_DELETED = "deleted"
"""The fact that holds the greatest deleted id whose loss is reported."""
_FIRST, _FIRST_AT = "first", "first_at"
"""The facts that hold the digest and the id of the first entry in the stream."""
_COUNT, _COUNTED_AT = "count", "counted_at"
"""The facts that hold how many entries were ever added up to the last one that was read, and the id of that one."""
COUNTS = (_COUNT, _COUNTED_AT)
_BEGUN = "begun"
"""The epoch of a stream: it has none of its own."""


class StreamState(NamedTuple):
    """What XINFO STREAM tells."""

    length: int
    first: EntryId | None
    last: EntryId
    added: int
    deleted: EntryId
    """The greatest id that was ever deleted, other than by trimming."""
    first_fields: Mapping[bytes, bytes] = {}


class Found(NamedTuple):
    """What is there now of what the mark knows."""

    last: str | None
    """The digest of the entry that was published last; None: it is not there."""
    first: str | None
    """The digest of the entry that was the first one; None: it is not there."""
    unread_group: bool
    """Whether the group is missing, or no consumer has read it."""


def state_of(info: Mapping[str, Any]) -> StreamState:
    """Return what matters of the answer of XINFO STREAM.

    Raises:
        SettingsError: the server is older than 7.0, which does not tell what was deleted.
    """
    if "max-deleted-entry-id" not in info:
        raise SettingsError("url: found a Redis that does not tell what was trimmed; expected Redis 7.0 or newer")
    first = info["first-entry"]
    return StreamState(
        int(info["length"]),
        parse_id(first[0]) if first else None,
        parse_id(info["last-generated-id"]),
        int(info["entries-added"]),
        parse_id(info["max-deleted-entry-id"]),
        first[1] if first else {},
    )


def risks(server: Mapping[str, Any], ttl: int) -> dict[Risk, str]:
    """Return how a stream loses entries, each with what was found; `server` is the answer of INFO."""
    policy = str(server.get("maxmemory_policy", "noeviction"))
    evicts = int(server.get("maxmemory", 0)) > 0 and (
        policy.startswith("allkeys") or (ttl >= 0 and policy != "noeviction")
    )
    candidates = {
        Risk.NO_AOF: "appendonly: no" if not int(server.get("aof_enabled", 1)) else None,
        Risk.EVICTION: f"maxmemory-policy: {policy}" if evicts else None,
        Risk.EXPIRES: f"a time to live of {ttl} s" if ttl >= 0 else None,
    }
    return {risk: text for risk, text in candidates.items() if text is not None}


def refuse_risks(found: Mapping[Risk, str], options: RedisSourceOptions) -> None:
    """Check that a stream loses no entry in a way that the settings do not accept.

    Raises:
        SettingsError: names what was found, and how to accept it.
    """
    unaccepted = {risk: text for risk, text in found.items() if risk not in options.accept}
    if unaccepted:
        listed = "; ".join(f"{text} ({risk})" for risk, text in unaccepted.items())
        raise SettingsError(
            f"stream: {options.stream!r} loses entries that were not read: {listed}. Change it, or accept that: accept:"
            f" [{', '.join(unaccepted)}]"
        )


def first_known(mark: Mark[EntryId]) -> EntryId | None:
    """Return the id of the entry that was the first one, None if that is not known."""
    known = mark.facts.get(_FIRST_AT)
    return None if known is None else parse_id(str(known))


def follow(state: StreamState, mark: Mark[EntryId], options: RedisSourceOptions, found: Found) -> list[Loss]:
    """Move the mark to where reading continues in a stream that was opened before; return what is lost."""
    place, before = options.in_words, mark.highest
    if _replaced(state, mark, found):
        mark.replace(_BEGUN)
        return [
            Loss(
                f"{place} was deleted and created again: what it held after entry {id_text(before)} is lost; the new"
                " one is read from its beginning"
            )
        ]
    if before is not None and state.last < before:
        mark.truncate(state.last)
        return [
            Loss(
                f"{place} ends at entry {id_text(state.last)}, and {id_text(before)} was published: it was restored"
                " from an older state; what comes after that is read as new"
            )
        ]
    return []


def _replaced(state: StreamState, mark: Mark[EntryId], found: Found) -> bool:
    """Return whether this is another stream than that of the mark."""
    entries = ((mark.facts.get(LAST), found.last), (mark.facts.get(_FIRST), found.first))
    same = [known == now for known, now in entries if known is not None and now is not None]
    if same:
        return not all(same)
    before, added = mark.highest, int(mark.facts.get(_ADDED, 0))
    if before is not None and state.last < before:
        # An older state of the same stream has counted fewer, and has the group.
        return found.unread_group or state.added >= added
    if _all_unread(state, mark.mark):
        # Nothing that was counted is left: all that is there was added after it.
        count = _count(mark)
        return state.added < added or (count is not None and state.added < count + state.length)
    missing = LAST in mark.facts and before is not None and state.deleted < before
    return found.unread_group and (missing or state.added < added)


def _all_unread(state: StreamState, read: EntryId | None) -> bool:
    return state.first is None or state.first > (read or (0, 0))


def _count(mark: Mark[EntryId]) -> int | None:
    """Return how many entries were ever added up to the mark, None if that is not known."""
    known = mark.facts.get(_COUNT)
    return known if isinstance(known, int) and mark.facts.get(_COUNTED_AT) == id_text(mark.mark) else None


class Unread:
    """Counts the entries that were read, to find those that were removed before."""

    def __init__(self, mark: Mark[EntryId], options: RedisSourceOptions) -> None:
        self._mark = mark
        self._place = options.in_words
        self.read = mark.mark
        """The last entry that was read."""
        self._count = _count(mark)
        """How many entries were ever added up to that one; None if that is not known."""

    def check(self, state: StreamState) -> list[Loss]:
        """Return the loss of entries above the last one that was read.

        `state` is of the moment at which the next entries are taken.
        """
        lost = 0
        if _all_unread(state, self.read):
            # Nothing that was read is left, so the length is the number of those that were not.
            lost = 0 if self._count is None else state.added - self._count - state.length
            self._count = state.added - state.length
        elif self._count is not None and state.deleted > max(self._reported, self.read or (0, 0)):
            lost, self._count = -1, None
        if not lost:
            return []
        self._mark.facts[_DELETED] = id_text(max(state.deleted, self._reported))
        self._mark.changed = True
        what = f"{lost} entries" if lost > 0 else f"entries up to {id_text(state.deleted)}"
        return [Loss(f"{self._place}: {what} after {id_text(self.read)} were removed before they were read")]

    def note(self, entries: Sequence[EntryId], state: StreamState, *, end: bool) -> None:
        """Note that entries were read; with `end`, there are no others."""
        if entries:
            self.read = entries[-1]
        if end:
            self._count = state.added
        elif self._count is not None:
            self._count += len(entries)
        self._mark.facts[_ADDED] = state.added
        if state.first is not None and self._mark.facts.get(_FIRST_AT) != id_text(state.first):
            self._mark.facts |= _first_facts(state)
        if self._count is not None:
            self._mark.facts |= {_COUNT: self._count, _COUNTED_AT: id_text(self.read)}

    @property
    def _reported(self) -> EntryId:
        return parse_id(str(self._mark.facts.get(_DELETED, "0-0")))


def begin(mark: Mark[EntryId], position: EntryId | None, state: StreamState) -> None:
    """Begin a stream at its first opening: what was deleted before is no loss."""
    mark.begin(_BEGUN, position)
    mark.facts |= known_facts(state)


def known_facts(state: StreamState) -> dict[str, int | str]:
    """Return the facts of a stream in which what was deleted before is no loss."""
    return {_DELETED: id_text(state.deleted), _ADDED: state.added, **_first_facts(state)}


def _first_facts(state: StreamState) -> dict[str, int | str]:
    return {} if state.first is None else {_FIRST: digest_of(state.first_fields), _FIRST_AT: id_text(state.first)}
