"""What a subscriber does next, decided from what it saw: sans-I/O.

Close codes 4000 to 4499 say: come back, after the wait that the reason names. 4500 to 4999 say: do not, until something
has changed; a token that has expired is changed by registering again. All else is a loss, and losses are met with
pauses that double, each of a random length, so that a crowd that lost one server does not arrive at the next together.
"""

import random
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from trelay_client.errors import Malformed, TrelayClientError

CONNECTED, GAP = "trelay.connected", "trelay.gap"
_OWN_SOURCE = "/trelay"

_TOKEN_CODES = {4505, 4506}
"""Token refused, token expired: registering again is what changes."""
_OUR_FAULTS = {1002, 1003, 1007, 1009, 1010}
"""What we sent broke the protocol: it would again (RFC 6455, 7.4.1)."""

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_PROVEN = 10.0
"""Seconds after which a connection counts as good, and the next loss as a first one."""
_WAIT = re.compile(r"; wait=(\d{1,6}(?:\.\d{1,6})?)$")
_REMEMBERED = 10_000

_decode = msgspec.json.Decoder().decode


class Stopped(TrelayClientError):
    """The stream has ended for good; the text says why, and what would have to change."""


class Frame(NamedTuple):
    """One event as it came."""

    text: str
    event: dict[str, Any]
    cursor: str | None
    """Where to resume behind it; absent in what carries no place."""

    @property
    def own(self) -> bool:
        """Whether it is Trelay's own word (connected, gap, …) and no event of a source."""
        return self.event.get("source") == _OWN_SOURCE


@dataclass(frozen=True, slots=True)
class Next:
    """Connect again, after a pause."""

    pause: float
    """Seconds."""
    register: bool
    """Get a new token first."""
    why: str


class Course:
    """Follows one subscription through all its connections."""

    def __init__(self, cursor: str | None, *, can_register: bool, rng: random.Random) -> None:
        """`can_register` says whether there are a client's credentials, and not only a token."""
        self.cursor = cursor
        self._can_register = can_register
        self._dice = rng
        self._losses = 0
        self._heard = False
        self._registered_in_vain = False
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    def connecting(self) -> None:
        """A connection is being opened."""
        self._heard = False

    def received(self, text: str) -> Frame | None:
        """Take in one frame; None for an event that was given before.

        Raises:
            Malformed: it is no event.
        """
        try:
            event = _decode(text)
        except (msgspec.DecodeError, UnicodeError) as exc:
            raise Malformed(f"a frame that is no JSON: {text[:80]!r}") from exc
        if not isinstance(event, dict):
            raise Malformed(f"a frame that is no event: {text[:80]!r}")
        self._heard = True
        self._registered_in_vain = False
        data = event.get("data")
        cursor = event.get("cursor")
        if cursor is None and event.get("type") == CONNECTED and isinstance(data, dict):
            cursor = data.get("cursor")
        if isinstance(cursor, str):
            self.cursor = cursor
        frame = Frame(text, event, cursor if isinstance(cursor, str) else None)
        return None if not frame.own and self._repeated(event) else frame

    def closed(self, code: int, reason: str, lived: float) -> Next:
        """The server has ended a connection that lived so many seconds.

        Raises:
            Stopped: not to come back.
        """
        said = f"{reason or 'connection closed'} ({code})"
        if code in _TOKEN_CODES and self._can_register:
            return self._again(said, lived, register=True)
        if code in range(4500, 5000) or code in _OUR_FAULTS:
            raise Stopped(f"the server ended the connection for good: {said}")
        found = _WAIT.search(reason)
        wait = 0.0 if found is None else float(found[1])
        return self._again(said, lived, wait=wait)

    def lost(self, why: str, lived: float) -> Next:
        """A connection broke, or could not be made."""
        return self._again(why, lived)

    def refused(self, status: int, detail: str, retry_after: float | None, *, registering: bool) -> Next:
        """A request was answered with an error, before any frame.

        Raises:
            Stopped: the same request will get the same answer.
        """
        said = f"{detail} ({status})"
        if status == 401 and self._can_register and not registering and not self._registered_in_vain:  # noqa: PLR2004
            # Once: where a fresh token is refused as well, another one will be too.
            self._registered_in_vain = True
            return self._again(said, 0.0, register=True)
        if status in {408, 409, 425, 429} or status >= 500:  # noqa: PLR2004 -- what RFC 9110 calls worth another try
            return self._again(said, 0.0, wait=retry_after or 0.0)
        raise Stopped(f"the server refuses: {said}")

    def _again(self, why: str, lived: float, *, wait: float = 0.0, register: bool = False) -> Next:
        self._losses = 1 if self._heard and lived >= _PROVEN else self._losses + 1
        ceiling = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(self._losses - 1, 16))
        pause = max(self._dice.uniform(0.0, ceiling), wait * self._dice.uniform(1.0, 1.5))
        return Next(pause, register, why)

    def _repeated(self, event: dict[str, Any]) -> bool:
        # CloudEvents: source and id together tell events apart.
        key = (str(event.get("source")), str(event.get("id")))
        if key in self._seen:
            return True
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return False
