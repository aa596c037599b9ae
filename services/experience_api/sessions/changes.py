"""What a connection asks to receive, and how that changes while it lives. Sans-I/O."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

import msgspec

from services.experience_api.hub.audience import ChannelNotPermitted, Interest, interest_in, narrow
from services.experience_api.hub.patterns import covers
from services.experience_api.refusals import CHANNEL_NOT_PERMITTED, MALFORMED, Refused
from shared.errors import Malformed


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to change the channels of a connection."""

    connection: UUID
    channels: tuple[str, ...] | None = None
    """All that it receives from now on, in place of what it received before."""
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()


_decode = msgspec.json.Decoder(Change).decode


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
    if (change.channels is None) == (not change.subscribe and not change.unsubscribe):
        raise Refused(MALFORMED, "body: expected either 'channels', or 'subscribe' and 'unsubscribe'")
    return change


@dataclass(frozen=True, slots=True)
class Wanted:
    """The patterns that a connection asks for; None for every channel that its client may read."""

    names: frozenset[str] | None

    def permitted(self, channels: Iterable[str]) -> Interest:
        """Return what it receives of these permitted patterns. What is not permitted is left out."""
        if self.names is None:
            return interest_in(channels)
        allowed = tuple(channels)
        return interest_in(name for name in self.names if any(covers(pattern, name) for pattern in allowed))

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
        try:
            # An empty list is an intended one here, unlike in a URL.
            for checked in (names, change.subscribe):
                if checked:
                    _ = interest_in(checked)  # names each that is invalid, such as one with a comma
                    _ = narrow(channels, ",".join(checked))
        except ChannelNotPermitted as exc:
            raise Refused(CHANNEL_NOT_PERMITTED, str(exc)) from exc
        except Malformed as exc:
            raise Refused(MALFORMED, str(exc)) from exc
        return Wanted(names)


def wanted_of(requested: str | None) -> Wanted:
    """Return what the parameter `channels` of a request asks for; it is valid."""
    if requested is None:
        return Wanted(None)
    return Wanted(frozenset({name.strip() for name in requested.split(",")} - {""}))
