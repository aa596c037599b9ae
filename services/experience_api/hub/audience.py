"""Matches channels against the patterns of subscribers, and groups subscribers that receive the same bytes.

A pattern is a channel name in which `*` stands for exactly one word and a final `**` for one or more words:
`orders.*` matches `orders.eu` and not `orders.eu.north`; `orders.**` matches both, and not `orders`; `**` matches
every channel.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from services.experience_api.hub.outbox import Outbox
from shared.errors import Malformed

_LENGTH_LIMIT = 200
_NAMES_LIMIT = 1000
_WILDCARDS_LIMIT = 50
"""Wildcard patterns a connection may request. Each is matched against every known channel when the connection opens and
when it closes."""
_CACHED_CHANNELS_LIMIT = 10_000
"""Channels whose audiences are cached. Beyond it, channels are matched again, which costs time only."""
_CACHED_MATCHES_LIMIT = 1000
"""Cached matches of one interest. There may be as many interests as connections."""

_pattern = re.compile(r"([A-Za-z0-9_-]+|\*)(\.([A-Za-z0-9_-]+|\*))*(\.\*\*)?|\*\*")
_translated = {"*": r"[^.]+", "**": r".+"}


class ChannelNotPermitted(Malformed):
    """The client may not subscribe to a requested channel; the text names the channel."""


def check_pattern(text: str) -> str:
    """Return the pattern if it is valid.

    Raises:
        Malformed: the text is not a pattern.
    """
    if len(text) > _LENGTH_LIMIT or not _pattern.fullmatch(text):
        raise Malformed(f"found {text[:80]!r}; expected a channel or a pattern, such as 'orders.eu' or 'orders.*'")
    return text


def covers(pattern: str, other: str) -> bool:
    """Return whether `pattern` matches every channel that `other` matches."""
    words, others = pattern.split("."), other.split(".")
    for number, word in enumerate(words):
        if word == "**":
            return len(others) > number
        if number >= len(others) or others[number] == "**":
            return False
        if word not in {"*", others[number]}:
            return False
    return len(words) == len(others)


class Interest:
    """A set of patterns. Equal sets are equal interests and share one audience.

    Use `interest_in`, so that a thousand connections with the same patterns hold one object.
    """

    __slots__ = ("__weakref__", "_cache", "_exact", "_wildcard", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(sorted(set(map(check_pattern, patterns))))
        self._exact = frozenset(pattern.encode() for pattern in self.patterns if "*" not in pattern)
        wildcards = [
            "\\.".join(_translated.get(word, word) for word in p.split(".")) for p in self.patterns if "*" in p
        ]
        self._wildcard = re.compile("|".join(wildcards).encode()) if wildcards else None
        self._cache: dict[bytes, bool] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Interest) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def __repr__(self) -> str:
        return f"Interest({', '.join(self.patterns)})"

    def matching(self, channels: Collection[bytes]) -> list[bytes]:
        """Return the channels that match. Without wildcards the cost does not depend on the number of channels."""
        if self._wildcard is None:
            return [channel for channel in self._exact if channel in channels]
        return [channel for channel in channels if self.matches(channel)]

    def matches(self, channel: bytes) -> bool:
        """Return whether a channel matches any of the patterns."""
        if self._wildcard is None:
            return channel in self._exact
        found = self._cache.get(channel)
        if found is None:
            if len(self._cache) >= _CACHED_MATCHES_LIMIT:
                self._cache.clear()
            found = channel in self._exact or self._wildcard.fullmatch(channel) is not None
            self._cache[channel] = found
        return found


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


Member = TypeVar("Member")


class Audience(Generic[Member]):
    """The live connections of one interest. All of them receive the same bytes."""

    __slots__ = ("interest", "members", "pending")

    def __init__(self, interest: Interest) -> None:
        self.interest = interest
        self.members: dict[Outbox, Member] = {}
        self.pending: list[bytes] = []
        """Frames of the current batch; empty between batches."""


class Audiences(Generic[Member]):
    """All audiences, found by channel."""

    def __init__(self) -> None:
        self._by_interest: dict[Interest, Audience[Member]] = {}
        self._by_channel: dict[bytes, list[Audience[Member]]] = {}

    def add(self, interest: Interest, outbox: Outbox, member: Member) -> None:
        """Deliver every batch from now on to an outbox."""
        audience = self._by_interest.get(interest)
        if audience is None:
            audience = self._by_interest[interest] = Audience(interest)
            for channel in interest.matching(self._by_channel.keys()):
                self._by_channel[channel].append(audience)
        audience.members[outbox] = member

    def discard(self, interest: Interest, outbox: Outbox) -> None:
        """Deliver nothing more to an outbox. An unknown outbox is ignored."""
        audience = self._by_interest.get(interest)
        if audience is None:
            return
        audience.members.pop(outbox, None)
        if not audience.members:
            del self._by_interest[interest]
            for channel in interest.matching(self._by_channel.keys()):
                self._by_channel[channel].remove(audience)

    def of(self, channel: bytes) -> list[Audience[Member]]:
        """Return the audiences of a channel."""
        audiences = self._by_channel.get(channel)
        if audiences is None:
            if len(self._by_channel) >= _CACHED_CHANNELS_LIMIT:
                self._by_channel.clear()
            audiences = [audience for audience in self._by_interest.values() if audience.interest.matches(channel)]
            self._by_channel[channel] = audiences
        return audiences

    def __iter__(self) -> Iterator[Audience[Member]]:
        return iter(self._by_interest.values())
