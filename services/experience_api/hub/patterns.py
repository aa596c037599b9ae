"""Patterns of channels, and an index that finds those that match a channel.

A pattern is a channel name in which `*` stands for exactly one word and a final `**` for one or more words:
`orders.*` matches `orders.eu` and not `orders.eu.north`; `orders.**` matches both, and not `orders`; `**` matches
every channel.
"""

import re
from collections.abc import Collection
from typing import Generic, TypeVar

from shared.errors import Malformed

PATTERN = r"^(([A-Za-z0-9_-]+|\*)(\.([A-Za-z0-9_-]+|\*))*(\.\*\*)?|\*\*)$"
LENGTH_LIMIT = 200
"""Characters of a pattern."""
_pattern = re.compile(PATTERN)


def check_pattern(text: str) -> str:
    """Return the pattern if it is valid.

    Raises:
        Malformed: the text is not a pattern.
    """
    if len(text) > LENGTH_LIMIT or not _pattern.fullmatch(text):
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


Value = TypeVar("Value")


class _Node(Generic[Value]):
    """The patterns that begin with the same words."""

    __slots__ = ("any", "ends", "rest", "words")

    def __init__(self) -> None:
        self.words: dict[bytes, _Node[Value]] = {}
        """The patterns that go on with a word."""
        self.any: _Node[Value] | None = None
        """Those that go on with `*`."""
        self.rest: dict[Value, None] = {}
        """The values of the one that ends with `**` here."""
        self.ends: dict[Value, None] = {}
        """The values of the one that ends here."""

    @property
    def empty(self) -> bool:
        return not (self.words or self.any or self.rest or self.ends)


class PatternIndex(Generic[Value]):
    """Values by pattern, found by channel.

    Names are found by one look-up, wildcards in a trie of words. What it costs to find, add or remove depends on the
    words of one channel or pattern and on how many match, not on how many there are.
    """

    def __init__(self) -> None:
        # Most names have one value, as a channel for each user has. A dict for each would be another cache miss.
        self._single: dict[bytes, Value] = {}
        self._several: dict[bytes, dict[Value, None]] = {}
        """Those that have, or had, more than one."""
        self._root: _Node[Value] = _Node()
        self._wildcards = 0
        """How many values are in the trie."""

    def add(self, pattern: str, value: Value) -> None:
        """Add a value under a pattern."""
        if "*" not in pattern:
            self._add_name(pattern.encode(), value)
            return
        self._wildcards += 1
        node = self._root
        for word in pattern.encode().split(b"."):
            if word == b"**":
                node.rest[value] = None
                return
            if word == b"*":
                node.any = node = node.any or _Node()
            else:
                node = node.words.setdefault(word, _Node())
        node.ends[value] = None

    def discard(self, pattern: str, value: Value) -> None:
        """Remove a value that was added under a pattern."""
        if "*" in pattern:
            _discard(self._root, pattern.encode().split(b"."), value)
            self._wildcards -= 1
            return
        name = pattern.encode()
        values = self._several.get(name)
        if values is None:
            del self._single[name]
            return
        del values[value]
        if not values:
            del self._several[name]

    def find(self, channel: bytes) -> Collection[Value]:
        """Return the values of all patterns that match a channel, each once. Do not change the index meanwhile."""
        named: Collection[Value] = ()
        if (single := self._single.get(channel)) is not None:
            named = (single,)
        elif self._several:
            named = self._several.get(channel, ())
        if not self._wildcards:
            return named
        found = self._walk(channel)
        found.update(dict.fromkeys(named))
        return found

    def _add_name(self, name: bytes, value: Value) -> None:
        if (values := self._several.get(name)) is not None:
            values[value] = None
        elif (single := self._single.get(name)) is None:
            self._single[name] = value
        else:
            del self._single[name]
            self._several[name] = {single: None, value: None}

    def _walk(self, channel: bytes) -> dict[Value, None]:
        found: dict[Value, None] = {}
        nodes = [self._root]
        for word in channel.split(b"."):
            following = []
            for node in nodes:
                if node.rest:
                    found.update(node.rest)
                if (child := node.words.get(word)) is not None:
                    following.append(child)
                if node.any is not None:
                    following.append(node.any)
            nodes = following
        for node in nodes:
            found.update(node.ends)
        return found


def _discard(node: _Node[Value], words: list[bytes], value: Value) -> None:
    """Remove a value below a node, and the nodes that hold nothing then."""
    if not words:
        del node.ends[value]
        return
    word, *others = words
    if word == b"**":
        del node.rest[value]
    elif word == b"*":
        assert node.any is not None, "added before"
        _discard(node.any, others, value)
        if node.any.empty:
            node.any = None
    else:
        child = node.words[word]
        _discard(child, others, value)
        if child.empty:
            del node.words[word]
