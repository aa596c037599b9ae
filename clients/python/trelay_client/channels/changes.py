"""Decides which channels a subscription asks for, and what becomes of each change: sans-I/O, and safe in threads.

A change holds once the relay has made it on the living connection: from then on, each further connection asks for the
changed channels. One that was not answered when a connection ended is asked for again on the next one.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from trelay_client.attaching import Attached
from trelay_client.errors import ChangeRefused, ChangeUnanswered, UsageError

SUBSCRIBED = "trelay.subscribed"
_REQUESTED = "requested"
_LIST_LIMIT = 60_000
"""Characters of the channels in a URL; the relay takes 65,000 with all parameters."""
_NONE_LEFT = "found no channel that is left; expected one at least, such as '**' for all"

Names = dict[str, str | None]
"""Channels and patterns, each with its filter; None for every event."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """One change, until it is made or refused."""

    subscribe: tuple[str, ...]
    unsubscribe: tuple[str, ...]
    filters: Mapping[str, str | None]
    result: Future[None] = field(default_factory=Future)

    def of(self, names: Names) -> Names:
        """Return these channels after the change."""
        after = {**names, **{name: names.get(name) for name in self.subscribe}}
        after.update((name, filter_) for name, filter_ in self.filters.items() if name in after)
        return {name: filter_ for name, filter_ in after.items() if name not in self.unsubscribe}

    def body(self, connection: str) -> dict[str, Any]:
        """Return the body of its request."""
        found = {"subscribe": self.subscribe, "unsubscribe": self.unsubscribe, "filters": dict(self.filters)}
        return {"connection": connection, **{name: each for name, each in found.items() if each}}

    def is_in(self, channels: Any) -> bool:
        """Return whether a connection that receives these channels was changed by it."""
        return isinstance(channels, list) and {*self.subscribe} <= {*channels} and not {*self.unsubscribe} & {*channels}


class Changes(Attached):
    """The channels of one subscription, across all its connections."""

    def __init__(self, channels: Iterable[str], filters: Mapping[str, str]) -> None:
        """Begin with some channels, and predicates over the events of some of them.

        Raises:
            UsageError: there is no channel, or a name cannot be one.
        """
        super().__init__("list of channels")
        first = Change(_names(channels), (), {**filters})
        self._names = first.of({})
        if problem := _problem(self._names):
            raise UsageError(problem)
        _check_filters(filters, self._names)
        self._changes: deque[Change] = deque()
        self._connection = ""
        self._asked = False

    @property
    def waiting(self) -> bool:
        return bool(self._changes)

    @property
    def names(self) -> tuple[str, ...]:
        """The channels that the subscription receives."""
        return tuple(self._names)

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the next connection."""
        with self._lock:
            filters = {name: filter_ for name, filter_ in self._names.items() if filter_ is not None}
            return {"channels": _listed(self._names), **({"filters": json.dumps(filters)} if filters else {})}

    def add(self, subscribe: Iterable[str], unsubscribe: Iterable[str], filters: Mapping[str, str | None]) -> Change:
        """Add a change, which is made after those before.

        Raises:
            UsageError: a name cannot be that of a channel, or there is none.
            ChangeUnanswered: the subscription has ended.
        """
        change = Change(_names(subscribe), _names(unsubscribe), {**filters})
        if not (change.subscribe or change.unsubscribe):
            raise UsageError("found no channel; expected one at least")
        _check_filters(filters, change.subscribe)
        change.result.set_running_or_notify_cancel()  # it is made, whether its program waits for it or not
        with self._lock:
            if self._ended is not None:
                raise ChangeUnanswered(self._ended)
            self._changes.append(change)
            self._notify()
        return change

    def connected(self, connection: str, listener: Callable[[], None]) -> None:
        """Begin a connection with this id. `listener` is called, in any thread, when there is a change to ask for."""
        with self._lock:
            self._connection, self._asked = connection, False
            self._listen(listener)

    def disconnected(self) -> None:
        """End a connection: what it has not answered is asked for again on the next one."""
        with self._lock:
            self._connection, self._asked = "", False
            self._disconnect()

    def next(self) -> tuple[Change, dict[str, Any]] | None:
        """Return the change to ask for on this connection, with the body of the request; None if there is none."""
        with self._lock:
            while self._connection and self._changes:
                change = self._changes[0]
                if not (problem := _problem(change.of(self._names))):
                    self._asked = True
                    return change, change.body(self._connection)
                self._take(change).set_exception(UsageError(problem))
            return None

    def made(self, change: Change) -> None:
        """Take the answer that a change is made; it may have been seen in the stream before."""
        with self._lock:
            if self._changes and self._changes[0] is change:
                self._names = change.of(self._names)
                self._take(change).set_result(None)

    def refused(self, change: Change, code: str, detail: str) -> None:
        """Take the answer that a change is refused, and would be again."""
        with self._lock:
            if self._changes and self._changes[0] is change:
                self._take(change).set_exception(ChangeRefused(code, detail))

    def received(self, event: dict[str, Any]) -> None:
        """Take a control event: one that tells what the connection receives now comes before the answer at times.

        The events of the channel follow it, so a connection that is lost before the answer is followed by one that asks
        for the channel as well.
        """
        data = event.get("data")
        if event.get("type") != SUBSCRIBED or not isinstance(data, dict) or data.get("reason") != _REQUESTED:
            return
        with self._lock:
            if self._asked and self._changes and self._changes[0].is_in(data.get("channels")):
                self.made(self._changes[0])

    def end(self, reason: str) -> None:
        with self._lock:
            self.disconnected()
            self._ended = reason
            while self._changes:
                self._take(self._changes[0]).set_exception(ChangeUnanswered(reason))

    def _take(self, change: Change) -> Future[None]:
        self._changes.popleft()
        self._asked = False
        return change.result


def _problem(names: Names) -> str:
    """Return why a connection could not be resumed with these channels; empty if it can."""
    if not names:
        return _NONE_LEFT  # it would be one of all channels
    size = len(quote(_listed(names)))
    return f"found channels of {size} characters in a URL; expected at most {_LIST_LIMIT}" if size > _LIST_LIMIT else ""


def _listed(names: Iterable[str]) -> str:
    return ",".join(names)


def _names(channels: Iterable[str]) -> tuple[str, ...]:
    if isinstance(channels, str):
        raise UsageError(f"found the text {channels!r}; expected a list of channels")
    found = tuple(dict.fromkeys(channels))
    for name in found:
        if not name or "," in name or name != name.strip():
            raise UsageError(f"found {name!r}; expected the name of a channel, or a pattern such as 'orders.*'")
    return found


def _check_filters(filters: Iterable[str], names: Iterable[str]) -> None:
    for pattern in filters:
        if pattern not in names:
            raise UsageError(f"filter of {pattern!r}: expected the same pattern among the channels")
