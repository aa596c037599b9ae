"""Groups subscribers that receive the same bytes: those with the same patterns."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from services.experience_api.hub.filters import Filter, check_filters, filter_of
from services.experience_api.hub.outbox import Outbox
from services.experience_api.hub.patterns import PatternIndex, check_pattern, covers
from shared.errors import Malformed

NAMES_LIMIT = 1000
"""Names and patterns that a connection may request."""
_WILDCARDS_LIMIT = 50
"""Wildcard patterns a connection may request. Unlike names, several of them can match one channel, and each that may
still match costs a step."""


_NO_FILTERS: Mapping[str, str] = {}


class ChannelNotPermitted(Malformed):
    """The client may not subscribe to a requested channel; the text names the channel."""


class Interest:
    """A set of patterns, some with filters, and how often. Equal ones share one audience.

    Use `interest_in`, so that a thousand connections with the same patterns hold one object.
    """

    __slots__ = (
        "__weakref__",
        "_every",
        "_filters",
        "_names",
        "_unfiltered",
        "_wildcards",
        "conflate",
        "filters",
        "patterns",
    )

    def __init__(
        self, patterns: Iterable[str], filters: Mapping[str, str] = _NO_FILTERS, conflate: float = 0.0
    ) -> None:
        """`filters` are predicates by pattern; `conflate` is the seconds of the connection's conflation, 0 for none."""
        self.conflate = conflate
        self.patterns = tuple(sorted(set(map(check_pattern, patterns))))
        self.filters = dict(sorted(filters.items()))
        self._unfiltered: Interest | None = None
        self._filters: PatternIndex[Filter] = PatternIndex()
        if filters:
            self._unfiltered = interest_in(pattern for pattern in self.patterns if pattern not in filters)
            for pattern, expression in filters.items():
                self._filters.add(pattern, filter_of(expression))
        self._every = "**" in self.patterns
        self._names = frozenset(pattern.encode() for pattern in self.patterns if "*" not in pattern)
        self._wildcards: PatternIndex[str] | None = None
        for pattern in self.patterns:
            if "*" in pattern:
                self._wildcards = self._wildcards or PatternIndex()
                self._wildcards.add(pattern, pattern)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Interest) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash((self.patterns, self.conflate, *self.filters.items()))

    @property
    def _identity(self) -> tuple[object, ...]:
        return self.patterns, self.filters, self.conflate

    def __repr__(self) -> str:
        return f"Interest({', '.join(self.patterns)})"

    def matches(self, channel: bytes) -> bool:
        """Return whether a channel matches any of the patterns."""
        if self._every or channel in self._names:
            return True
        return self._wildcards is not None and bool(self._wildcards.find(channel))

    def covers(self, pattern: str) -> bool:
        """Return whether one of the patterns matches every channel that another one matches.

        A name is looked up: a client may ask for a thousand channels of the thousand that it may read.
        """
        if "*" not in pattern:
            return self.matches(pattern.encode())
        return any(covers(each, pattern) for each in self.patterns if "*" in each)

    @property
    def selecting(self) -> "Interest | None":
        """The interest itself if it has filters: equal ones receive the same events."""
        return self if self.filters else None

    def wants(self, channel: bytes, frame: bytes) -> bool:
        """Return whether the event of a frame, on a channel that matches, passes the filters."""
        if self._unfiltered is None or self._unfiltered.matches(channel):
            return True
        return any(found.passes(frame) for found in self._filters.find(channel))


_shared: WeakValueDictionary[tuple[frozenset[str], frozenset[tuple[str, str]], float], Interest]
_shared = WeakValueDictionary()
"""Weak: an interest that no connection holds is dropped, so a client cannot fill memory with one-off names."""


def interest_in(patterns: Iterable[str], filters: Mapping[str, str] = _NO_FILTERS, conflate: float = 0.0) -> Interest:
    """Return the shared interest in these patterns. `filters` and `conflate` are those of `Interest`.

    Raises:
        Malformed: a pattern or a filter is invalid; the text names it.
    """
    key = frozenset(patterns), frozenset(filters.items()), conflate
    found = _shared.get(key)
    if found is None:
        found = _shared[key] = Interest(key[0], filters, conflate)
    return found


def narrow(
    permitted: Iterable[str], requested: str | None, filters: Mapping[str, str] = _NO_FILTERS, conflate: float = 0.0
) -> Interest:
    """Return what a connection subscribes to: what it requests (`a,b`), or all permitted channels for None.

    `filters` are predicates by requested pattern, `conflate` is the seconds of its conflation.

    Raises:
        ChannelNotPermitted: no single permitted pattern covers a requested one.
        Malformed: there is no name, a name is invalid, or there are more than 1,000 names or more than 50 wildcard
            patterns.
    """
    allowed = interest_in(permitted)
    check_filters(filters)
    if requested is None:
        _check_named(filters, ())
        return interest_in(allowed.patterns, conflate=conflate)
    names = {name.strip() for name in requested.split(",")} - {""}
    if not names:
        # Often a variable that is not set: it must not mean every channel.
        raise Malformed("'channels' names no channel; name some, or leave it out for all that are permitted")
    if len(names) > NAMES_LIMIT:
        raise Malformed(f"found {len(names)} channels; the limit is {NAMES_LIMIT}")
    if (wildcards := sum("*" in name for name in names)) > _WILDCARDS_LIMIT:
        raise Malformed(f"found {wildcards} patterns with '*'; the limit is {_WILDCARDS_LIMIT}")
    _check_named(filters, names)
    interest = interest_in(names, filters, conflate)
    for name in interest.patterns:
        if not allowed.covers(name):
            raise ChannelNotPermitted(f"this client may not subscribe to channel {name!r}")
    return interest


def _check_named(filters: Iterable[str], names: Collection[str]) -> None:
    for pattern in filters:
        if pattern not in names:
            raise Malformed(f"filter of {pattern[:80]!r}: expected the same pattern among 'channels'")


@dataclass(frozen=True, slots=True)
class Subscriber:
    """The consumer behind a connection, and what it may receive and send."""

    connection_id: UUID
    client_id: str
    interest: Interest
    may_send: bool = False
    wants_heartbeat: bool = False
    """Whether it asked for heartbeats that a script can see."""
    watermarks: int | None = None
    """The least seconds between two watermarks of a source; None if it asked for none."""
    answers: bool = False
    """Whether it answers heartbeats, and only messages show that it lives: a proxy may answer pings in its place."""


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

    def holds(self, interest: Interest, outbox: Outbox) -> bool:
        """Return whether every batch is delivered to an outbox."""
        audience = self._audiences.get((interest, outbox.window))
        return audience is not None and outbox in audience.members

    def of(self, channel: bytes) -> Collection[Audience[Member]]:
        """Return the audiences of a channel."""
        return self._index.find(channel)

    def __iter__(self) -> Iterator[Audience[Member]]:
        return iter(self._audiences.values())
