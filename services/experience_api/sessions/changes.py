"""What a connection asks to receive, and how that changes while it lives. Sans-I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from uuid import UUID

import msgspec

from services.experience_api.hub.audience import NAMES_LIMIT, ChannelNotPermitted, Interest, interest_in, narrow
from services.experience_api.hub.filters import check_filters
from services.experience_api.refusals import CHANNEL_NOT_PERMITTED, MALFORMED, Refused
from services.experience_api.sessions.conflate import read_conflate
from shared.errors import Malformed


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to change the channels of a connection."""

    connection: UUID
    channels: tuple[str, ...] | None = None
    """All that it receives from now on, in place of what it received before."""
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    filters: Mapping[str, str | None] = msgspec.field(default_factory=dict)
    """Predicates over events by pattern, in place of those before; None removes one. With `channels`, all of them."""
    conflate: str | msgspec.UnsetType | None = msgspec.UNSET
    """The conflation from now on; None ends it."""


_decode = msgspec.json.Decoder(Change).decode
_EVERY_CHANNEL = ("**",)


def read_change(body: bytes) -> Change:
    """Read the body of a request.

    Raises:
        Refused: `MALFORMED`.
    """
    try:
        change: Change = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        expected = '{"connection": "<id>", "subscribe": ["orders.eu"], "unsubscribe": []}'
        raise Refused(MALFORMED, f"body: {exc}; expected {expected}") from exc
    moves = bool(change.subscribe or change.unsubscribe)
    alters = bool(change.filters) or change.conflate is not msgspec.UNSET
    if moves if change.channels is not None else not moves and not alters:
        expected = "either 'channels', or 'subscribe' and 'unsubscribe', and perhaps 'filters' and 'conflate'"
        raise Refused(MALFORMED, f"body: expected {expected}")
    # Before anything is made of them: a megabyte of names would keep the event loop for half a second.
    for names in (change.channels or (), change.subscribe, change.unsubscribe):
        if len(names) > NAMES_LIMIT:
            raise Refused(MALFORMED, f"body: found {len(names)} channels; the limit is {NAMES_LIMIT}")
    return change


@dataclass(frozen=True, slots=True)
class Wanted:
    """The patterns that a connection asks for; None for every channel that its client may read."""

    names: frozenset[str] | None
    filters: Mapping[str, str] = field(default_factory=dict)
    """Predicates over events, by pattern."""
    conflate: float = 0.0
    """The interval of conflation in seconds; 0 for none, so that every event is sent."""

    def permitted(self, channels: Iterable[str]) -> Interest:
        """Return what it receives of these permitted patterns. What is not permitted is left out."""
        if self.names is None:
            return interest_in(channels, conflate=self.conflate)
        allowed = interest_in(channels)
        names = [name for name in self.names if allowed.covers(name)]
        filters = {name: self.filters[name] for name in names if name in self.filters}
        return interest_in(names, filters, self.conflate)

    def changed(self, change: Change, channels: Iterable[str]) -> "Wanted":
        """Return what it asks for after a change. `channels` are the permitted patterns.

        Raises:
            Refused: `CHANNEL_NOT_PERMITTED`; `MALFORMED`: a name is invalid, there are too many of them or none, or
                it asked for every channel, of which none can be taken away.
        """
        if change.channels is not None:
            names = frozenset(change.channels)
        elif self.names is None:
            if change.unsubscribe:
                raise Refused(MALFORMED, "body: the connection receives all channels; expected 'channels' to narrow it")
            names = None
        else:
            names = (self.names | frozenset(change.subscribe)) - frozenset(change.unsubscribe)
        filters = self._filtered(change, names)
        try:
            check_filters(filters)
            # Of what it asked for before, the operator may have taken some away: that refuses no other change. An empty
            # list is an intended one here, unlike in a URL.
            asked = change.subscribe if change.channels is None else change.channels
            for checked, permitted in ((names, _EVERY_CHANNEL), (asked, channels)):
                if checked:
                    _ = interest_in(checked)  # names each that is invalid, such as one with a comma
                    _ = narrow(permitted, ",".join(checked))
        except ChannelNotPermitted as exc:
            raise Refused(CHANNEL_NOT_PERMITTED, str(exc)) from exc
        except Malformed as exc:
            raise Refused(MALFORMED, str(exc)) from exc
        return Wanted(names, filters, self._conflated(change))

    def _conflated(self, change: Change) -> float:
        if isinstance(change.conflate, msgspec.UnsetType):
            return self.conflate
        return 0.0 if change.conflate is None else read_conflate(change.conflate, "body:")

    def _filtered(self, change: Change, names: frozenset[str] | None) -> Mapping[str, str]:
        """Return the filters after a change; those of patterns that it no longer asks for are dropped."""
        before = {} if change.channels is not None else dict(self.filters)
        after = {**before, **change.filters}
        for pattern in change.filters:
            if pattern not in (names or ()):
                raise Refused(MALFORMED, f"filter of {pattern[:80]!r}: expected a pattern that the connection receives")
        return {name: filter_ for name, filter_ in after.items() if filter_ is not None and name in (names or ())}


def wanted_of(
    requested: str | None, filters: Mapping[str, str] = MappingProxyType({}), conflate: float = 0.0
) -> Wanted:
    """Return what the parameter `channels` of a request asks for; it is valid."""
    if requested is None:
        return Wanted(None, conflate=conflate)
    return Wanted(frozenset({name.strip() for name in requested.split(",")} - {""}), filters, conflate)
