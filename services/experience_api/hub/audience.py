"""Who wants which channel: patterns, what they permit, and the audiences that share their bytes.

A pattern is a channel's name in which `*` stands for any one word and a last word `**` for one word or more:
`orders.*` is `orders.eu` and not `orders.eu.north`; `orders.**` is both, and not `orders`; `**` is every channel.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from services.experience_api.hub.outbox import Outbox
from shared.errors import Malformed

_LENGTH_LIMIT = 200
_ASKED_LIMIT = 1000
_WILD_LIMIT = 50
"""Patterns among those: each is tried on every channel that is known when its connection comes, and when it goes."""
_KNOWN_LIMIT = 10_000
"""Channels whose audiences are remembered; more are matched again, which costs time and nothing else."""
_KNOWN_TO_ONE_LIMIT = 1000
"""The same, for one interest. There may be as many of these as connections."""

_pattern = re.compile(r"([A-Za-z0-9_-]+|\*)(\.([A-Za-z0-9_-]+|\*))*(\.\*\*)?|\*\*")
_translated = {"*": r"[^.]+", "**": r".+"}


class ChannelNotPermitted(Malformed):
    """A channel was asked for that the client may not subscribe to; the text names it."""


def check_pattern(text: str) -> str:
    """Return the pattern, known to be one.

    Raises:
        Malformed: it is none; the text names it.
    """
    if len(text) > _LENGTH_LIMIT or not _pattern.fullmatch(text):
        raise Malformed(f"{text[:80]!r} is no channel and no pattern of channels, such as 'orders.eu' or 'orders.*'")
    return text


def covers(pattern: str, other: str) -> bool:
    """Whether every channel that `other` matches is one that `pattern` matches."""
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
    """A set of patterns; equal sets are equal interests, and share one audience.

    Get one from `interest_in`, so that a thousand connections that want the same hold one object.
    """

    __slots__ = ("__weakref__", "_exact", "_known", "_wild", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(sorted(set(map(check_pattern, patterns))))
        self._exact = frozenset(pattern.encode() for pattern in self.patterns if "*" not in pattern)
        wild = ["\\.".join(_translated.get(word, word) for word in p.split(".")) for p in self.patterns if "*" in p]
        self._wild = re.compile("|".join(wild).encode()) if wild else None
        self._known: dict[bytes, bool] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Interest) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def __repr__(self) -> str:
        return f"Interest({', '.join(self.patterns)})"

    def among(self, channels: Collection[bytes]) -> list[bytes]:
        """Return those of many channels that are wanted; cheap where no pattern has to be tried."""
        if self._wild is None:
            return [channel for channel in self._exact if channel in channels]
        return [channel for channel in channels if self.wants(channel)]

    def wants(self, channel: bytes) -> bool:
        """Whether a channel is one of these."""
        if self._wild is None:
            return channel in self._exact
        known = self._known.get(channel)
        if known is None:
            if len(self._known) >= _KNOWN_TO_ONE_LIMIT:
                self._known.clear()
            known = channel in self._exact or self._wild.fullmatch(channel) is not None
            self._known[channel] = known
        return known


_shared: WeakValueDictionary[frozenset[str], Interest] = WeakValueDictionary()
"""Only those that somebody has: whoever asks for a thousand other names each time leaves nothing here."""


def interest_in(patterns: Iterable[str]) -> Interest:
    """Return the interest in these.

    Raises:
        Malformed: one is no pattern; the text names it.
    """
    wanted = frozenset(patterns)
    found = _shared.get(wanted)
    if found is None:
        found = _shared[wanted] = Interest(wanted)
    return found


def narrow(permitted: Iterable[str], asked: str | None) -> Interest:
    """Return what a connection subscribes to: what it asked for (`a,b`), or all it may have for None.

    Raises:
        ChannelNotPermitted: no single permitted pattern covers one that was asked for.
        Malformed: no name is given, one is none, or there are more than a thousand, or more than fifty with a `*`.
    """
    allowed = interest_in(permitted)
    if asked is None:
        return allowed
    names = {name.strip() for name in asked.split(",")} - {""}
    if not names:
        # Often a variable that is not set: it must not mean every channel.
        raise Malformed("'channels' names no channel; name some, or leave it out for all that are permitted")
    if len(names) > _ASKED_LIMIT:
        raise Malformed(f"{len(names)} channels, the limit is {_ASKED_LIMIT}")
    if (wild := sum("*" in name for name in names)) > _WILD_LIMIT:
        raise Malformed(f"{wild} patterns with '*', the limit is {_WILD_LIMIT}")
    wanted = interest_in(names)
    for name in wanted.patterns:
        if not any(covers(pattern, name) for pattern in allowed.patterns):
            raise ChannelNotPermitted(f"channel {name!r} is not permitted to this client")
    return wanted


Member = TypeVar("Member")


class Audience(Generic[Member]):
    """The live connections of one interest: what is written to one of them is written to all."""

    __slots__ = ("interest", "members", "pending")

    def __init__(self, interest: Interest) -> None:
        self.interest = interest
        self.members: dict[Outbox, Member] = {}
        self.pending: list[bytes] = []
        """Frames of the batch under way; empty between batches."""


class Audiences(Generic[Member]):
    """All audiences, found by channel."""

    def __init__(self) -> None:
        self._by_interest: dict[Interest, Audience[Member]] = {}
        self._by_channel: dict[bytes, list[Audience[Member]]] = {}

    def add(self, interest: Interest, outbox: Outbox, member: Member) -> None:
        """Let an outbox have what comes from now on."""
        audience = self._by_interest.get(interest)
        if audience is None:
            audience = self._by_interest[interest] = Audience(interest)
            for channel in interest.among(self._by_channel.keys()):
                self._by_channel[channel].append(audience)
        audience.members[outbox] = member

    def discard(self, interest: Interest, outbox: Outbox) -> None:
        """Let it have nothing more; one that is no member is left alone."""
        audience = self._by_interest.get(interest)
        if audience is None:
            return
        audience.members.pop(outbox, None)
        if not audience.members:
            del self._by_interest[interest]
            for channel in interest.among(self._by_channel.keys()):
                self._by_channel[channel].remove(audience)

    def of(self, channel: bytes) -> list[Audience[Member]]:
        """Return those who want a channel."""
        audiences = self._by_channel.get(channel)
        if audiences is None:
            if len(self._by_channel) >= _KNOWN_LIMIT:
                self._by_channel.clear()
            audiences = [audience for audience in self._by_interest.values() if audience.interest.wants(channel)]
            self._by_channel[channel] = audiences
        return audiences

    def __iter__(self) -> Iterator[Audience[Member]]:
        return iter(self._by_interest.values())
