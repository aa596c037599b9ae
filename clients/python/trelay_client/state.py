"""Decides what a subscriber does next: sans-I/O.

Close codes 4000 to 4499 mean: reconnect, after the wait that the reason names. 4500 to 4999 mean: do not reconnect
until something has changed; a token that was refused or has expired changes by registering again. Any other loss is
followed by a pause that doubles each time and has a random length, so that a crowd that lost one server does not
reconnect to the next at once.
"""

import random
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from trelay_client.errors import TrelayClientError

CONNECTED, GAP, HEARTBEAT, SNAPSHOT = "trelay.connected", "trelay.gap", "trelay.heartbeat", "trelay.snapshot"
ANSWER = '{"type":"trelay.heartbeat"}'
"""The message that answers a heartbeat."""
_CONTROL_SOURCE = "/trelay"

TOKEN_CODES = frozenset({4505, 4506})
"""Token refused, token expired: register again, then reconnect."""
STOP_CODES = range(4500, 5000)
"""Do not reconnect, except after `TOKEN_CODES`."""
PROTOCOL_CODES = frozenset({1002, 1003, 1007, 1009, 1010})
"""The client violated the protocol, and would again (RFC 6455, 7.4.1): do not reconnect."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_STABLE = 10.0
"""Seconds after which a connection counts as stable, and the next pause is the first one again."""
_WAIT = re.compile(r"; wait=(\d{1,6}(?:\.\d{1,6})?)$")
_CURSOR = re.compile(r'\{"cursor":"([^"\\]+)"')
"""The relay writes the cursor first, so that it can be read where the rest cannot."""
_SEEN_LIMIT = 10_000

_decode = msgspec.json.Decoder().decode


class Stopped(TrelayClientError):
    """The client must not reconnect. The text says why."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code
        """The close code, or the HTTP status of a refusal."""


class Frame(NamedTuple):
    """One event as it arrived."""

    text: str
    event: dict[str, Any]
    cursor: str | None
    """Resumes after this event; None in control events without one."""

    @property
    def own(self) -> bool:
        """Whether it is a control event of Trelay (connected, gap, …) and not an event of a source."""
        return self.event.get("source") == _CONTROL_SOURCE

    @property
    def heartbeat(self) -> bool:
        """Whether it shows that the connection lives, and perhaps moves the cursor behind events of others."""
        return self.own and self.event.get("type") == HEARTBEAT


def is_shown(frame: Frame, *, heartbeats: bool) -> bool:
    """Return whether the program gets a frame. One that keeps the cursor itself asks for `heartbeats` as well."""
    return heartbeats or not frame.heartbeat


class UnreadableFrame(NamedTuple):
    """One frame that is not an event, or not JSON that can be read."""

    text: str
    """The frame as it arrived."""
    cursor: str | None
    """Resumes after this frame; None where it cannot be found."""
    reason: str


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Connect again after a pause."""

    pause: float
    """Seconds."""
    register: bool
    """Whether to get a new token first."""
    reason: str


class SubscriptionState:
    """The state of one subscription across all its connections."""

    def __init__(self, cursor: str | None, *, can_register: bool, rng: random.Random) -> None:
        """`can_register` is whether the client's credentials are known, and not only a token."""
        self.cursor = cursor
        self._can_register = can_register
        self._rng = rng
        self._failures = 0
        self._received = self._was_accepted = False
        self._registered = self._renewed = False
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    def connecting(self) -> None:
        """Start a new connection."""
        self._received = False

    def received(self, text: str) -> Frame | UnreadableFrame | None:
        """Handle one frame; return None for an event that was already received.

        The cursor moves behind a frame that cannot be read as well, so that it does not come again.
        """
        self._received = self._was_accepted = True
        self._registered = self._renewed = False
        try:
            event = _decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
            return self._unreadable(text, f"not JSON that can be read: {exc}")
        if not isinstance(event, dict):
            return self._unreadable(text, f"found {type(event).__name__}; expected an object")
        data = event.get("data")
        cursor = event.get("cursor")
        if cursor is None and event.get("type") == CONNECTED and isinstance(data, dict):
            cursor = data.get("cursor")
        if isinstance(cursor, str):
            self.cursor = cursor
        frame = Frame(text, event, cursor if isinstance(cursor, str) else None)
        if frame.own and event.get("type") == SNAPSHOT and isinstance(data, dict) and data.get("phase") == "begin":
            # The program forgets what it knows: events that it has received before are part of the state as well.
            self._seen.clear()
        return None if not frame.own and self._repeated(event) else frame

    def _unreadable(self, text: str, reason: str) -> UnreadableFrame:
        found = _CURSOR.match(text)
        cursor = None if found is None else found[1]
        self.cursor = cursor or self.cursor
        return UnreadableFrame(text, cursor, reason)

    def closed(self, code: int, reason: str, connected_s: float) -> Reconnect:
        """Handle a Close frame of a connection that was open for `connected_s` seconds.

        Raises:
            Stopped: the client must not reconnect.
        """
        text = f"{reason or 'connection closed'} ({code})"
        if code in TOKEN_CODES and self._can_register and not self._renewed:
            self._renewed = True
            return self._retry(text, connected_s, register=True)
        if code in STOP_CODES or code in PROTOCOL_CODES:
            raise Stopped(f"connection closed by the server, not reconnecting: {text}", code)
        found = _WAIT.search(reason)
        wait = 0.0 if found is None else float(found[1])
        return self._retry(text, connected_s, wait=wait)

    def lost(self, reason: str, connected_s: float) -> Reconnect:
        """Handle a connection that broke or could not be opened."""
        return self._retry(reason, connected_s)

    def refused(
        self, status: int, detail: str, retry_after: float | None, *, registering: bool, of_relay: bool = True
    ) -> Reconnect:
        """Handle an HTTP error, before any frame. `of_relay` is whether the relay has answered, and no proxy.

        Raises:
            Stopped: the same request would fail again.
        """
        text = f"{detail} ({status})"
        if status == 401 and self._can_register and not registering and not self._registered:  # noqa: PLR2004
            # Once: if a new token is refused as well, the next one will be too.
            self._registered = True
            return self._retry(text, 0.0, register=True)
        if status in {408, 409, 425, 429} or status >= 500:  # noqa: PLR2004 -- the retryable ones of RFC 9110
            return self._retry(text, 0.0, wait=retry_after or 0.0)
        if self._was_accepted and not of_relay:
            # A proxy that has lost its route or its rules for a while, as in an upgrade: the address was right before.
            return self._retry(text, 0.0, wait=retry_after or 0.0)
        raise Stopped(f"refused by the server: {text}", status)

    def _retry(self, reason: str, connected_s: float, *, wait: float = 0.0, register: bool = False) -> Reconnect:
        self._failures = 1 if self._received and connected_s >= _STABLE else self._failures + 1
        ceiling = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._failures - 1, 16))
        pause = max(self._rng.uniform(0.0, ceiling), wait * self._rng.uniform(1.0, 1.5))
        return Reconnect(pause, register, reason)

    def _repeated(self, event: dict[str, Any]) -> bool:
        # CloudEvents: source and id together identify an event.
        key = (str(event.get("source")), str(event.get("id")))
        if key in self._seen:
            return True
        self._seen[key] = None
        if len(self._seen) > _SEEN_LIMIT:
            self._seen.popitem(last=False)
        return False
