"""Groups subscribers that receive the same bytes: those with the same patterns."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from services.experience_api.hub.outbox import Outbox
from services.experience_api.hub.patterns import PatternIndex, check_pattern, covers
from shared.errors import Malformed

_NAMES_LIMIT = 1000
_WILDCARDS_LIMIT = 50
"""Wildcard patterns a connection may request. Unlike names, several of them can match one channel, and each that may
still match costs a step."""


class ChannelNotPermitted(Malformed):
    """The client may not subscribe to a requested channel; the text names the channel."""


class Interest:
    """A set of patterns. Equal sets are equal interests and share one audience.

    Use `interest_in`, so that a thousand connections with the same patterns hold one object.
    """

    __slots__ = ("__weakref__", "_every", "_names", "_wildcards", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(sorted(set(map(check_pattern, patterns))))
        self._every = "**" in self.patterns
        self._names = frozenset(pattern.encode() for pattern in self.patterns if "*" not in pattern)
        self._wildcards: PatternIndex[str] | None = None
        for pattern in self.patterns:
            if "*" in pattern:
                self._wildcards = self._wildcards or PatternIndex()
                self._wildcards.add(pattern, pattern)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Interest) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def __repr__(self) -> str:
        return f"Interest({', '.join(self.patterns)})"

    def matches(self, channel: bytes) -> bool:
        """Return whether a channel matches any of the patterns."""
        if self._every or channel in self._names:
            return True
        return self._wildcards is not None and bool(self._wildcards.find(channel))


_shared: WeakValueDictionary[frozenset[str], Interest] = WeakValueDictionary()
"""Weak: an interest that no connection holds is dropped, so a client cannot fill memory with one-off names."""


def interest_in(patterns: Iterable[str]) -> Interest:
    """Return the shared interest in these patterns.

    Raises:
        Malformed: a pattern is invalid; the text names it.
    """
    key = frozenset(patterns)
    found = _shared.get(key)
    if found is None:
        found = _shared[key] = Interest(key)
    return found


def narrow(permitted: Iterable[str], requested: str | None) -> Interest:
    """Return what a connection subscribes to: what it requests (`a,b`), or all permitted channels for None.

    Raises:
        ChannelNotPermitted: no single permitted pattern covers a requested one.
        Malformed: there is no name, a name is invalid, or there are more than 1,000 names or more than 50 wildcard
            patterns.
    """
    allowed = interest_in(permitted)
    if requested is None:
        return allowed
    names = {name.strip() for name in requested.split(",")} - {""}
    if not names:
        # Often a variable that is not set: it must not mean every channel.
        raise Malformed("'channels' names no channel; name some, or leave it out for all that are permitted")
    if len(names) > _NAMES_LIMIT:
        raise Malformed(f"found {len(names)} channels; the limit is {_NAMES_LIMIT}")
    if (wildcards := sum("*" in name for name in names)) > _WILDCARDS_LIMIT:
        raise Malformed(f"found {wildcards} patterns with '*'; the limit is {_WILDCARDS_LIMIT}")
    interest = interest_in(names)
    for name in interest.patterns:
        if not any(covers(pattern, name) for pattern in allowed.patterns):
            raise ChannelNotPermitted(f"this client may not subscribe to channel {name!r}")
    return interest


@dataclass(frozen=True, slots=True)
class Subscriber:
    """The consumer behind a connection, and what it may receive and send."""

    connection_id: UUID
    client_id: str
    interest: Interest
    may_send: bool = False
    wants_heartbeat: bool = False
    """Whether it asked for heartbeats that a script can see."""


Member = TypeVar("Member")


class Audience(Generic[Member]):
    """The live connections of one interest and one compression. All of them receive the same bytes."""

    __slots__ = ("interest", "members", "window")

    def __init__(self, interest: Interest, window: int) -> None:
        self.interest = interest
        self.window = window
        """The window of their compression; 0 without one."""
        self.members: dict[Outbox, Member] = {}


class Audiences(Generic[Member]):
    """All audiences, found by channel."""

    def __init__(self) -> None:
        self._audiences: dict[tuple[Interest, int], Audience[Member]] = {}
        self._index: PatternIndex[Audience[Member]] = PatternIndex()

    def add(self, interest: Interest, outbox: Outbox, member: Member) -> None:
        """Deliver every batch from now on to an outbox."""
        key = interest, outbox.window
        audience = self._audiences.get(key)
        if audience is None:
            audience = self._audiences[key] = Audience(interest, outbox.window)
            for pattern in interest.patterns:
                self._index.add(pattern, audience)
        audience.members[outbox] = member

    def discard(self, interest: Interest, outbox: Outbox) -> None:
        """Deliver nothing more to an outbox. An unknown outbox is ignored."""
        key = interest, outbox.window
        audience = self._audiences.get(key)
        if audience is None:
            return
        audience.members.pop(outbox, None)
        if not audience.members:
            del self._audiences[key]
            for pattern in interest.patterns:
                self._index.discard(pattern, audience)

    def of(self, channel: bytes) -> Collection[Audience[Member]]:
        """Return the audiences of a channel."""
        return self._index.find(channel)

    def __iter__(self) -> Iterator[Audience[Member]]:
        return iter(self._audiences.values())
