"""What is certain of one connection: up to which cursors events were written, sent and acknowledged. Sans-I/O.

    written        given to the connection: in its buffer, or further
    sent           accepted by the kernel of this machine: it is sent even if this process is killed
    acknowledged   received by the kernel of the client, or of a proxy before it

The kernel counts bytes and knows no events. So the cursor is noted with the bytes that will be acknowledged once all
before it is, whenever nothing waits in the process; when the kernel has acknowledged so many, that cursor is reached.
"""

from collections import deque
from typing import Any

from services.experience_api.hub.audience import Interest
from services.experience_api.hub.close_codes import CloseReason
from services.experience_api.hub.heartbeat import Progress
from shared.runtime.clock import rfc3339

_NOTES = 64
"""Cursors whose acknowledgement is waited for; above it, the newest replaces the one before."""


class Trail:
    """The audit of one connection."""

    def __init__(self, client_id: str, connection_id: str, node: str, interest: Interest, *, measurable: bool) -> None:
        """`measurable`: what the kernel counts is what is written here: not under TLS, which adds bytes of its own."""
        self._interest = interest
        self._names = {"client_id": client_id, "connection_id": connection_id, "node": node}
        self._measurable = measurable
        self._after: str | None = None
        self._written = ""
        self._sent: str | None = None
        self._acknowledged: str | None = None
        self._reported: tuple[str | None, str | None, str | None] = ("", None, None)
        self._notes: deque[tuple[int, str]] = deque()

    def note(self, cursor: str, progress: Progress) -> None:
        """Note that everything up to a cursor was written to the connection, which was measured right after."""
        if self._after is None:
            self._after = cursor
        self._written = cursor
        if not self._measurable or progress.acknowledged is None:
            return
        if not progress.buffered:
            self._sent = cursor
            if len(self._notes) == _NOTES:
                self._notes.pop()
            self._notes.append((progress.end, cursor))
        while self._notes and self._notes[0][0] <= progress.acknowledged:
            self._acknowledged = self._notes.popleft()[1]

    def change(self, interest: Interest) -> None:
        """Note that other events are written from now on. The record of those before was returned."""
        self._interest = interest

    def opened(self, now: float) -> dict[str, Any]:
        """Return the record of the beginning; `note` was called once."""
        return self._record("opened", now) | {"after": self._after}

    def delivered(self, now: float) -> dict[str, Any] | None:
        """Return the record of what is new since the last one; None if nothing is."""
        if self._state == self._reported:
            return None
        return self._record("delivered", now)

    def closed(self, reason: CloseReason | None, now: float) -> dict[str, Any]:
        """Return the record of the end."""
        code = None if reason is None else reason.code
        return self._record("closed", now) | {"code": code, "reason": "" if reason is None else reason.name}

    @property
    def _state(self) -> tuple[str | None, str | None, str | None]:
        return self._written, self._sent, self._acknowledged

    def _record(self, kind: str, now: float) -> dict[str, Any]:
        before, self._reported = self._reported[0], self._state
        return {
            "kind": kind,
            **self._names,
            "at": rfc3339(now),
            "channels": list(self._interest.patterns),
            "filters": self._interest.filters,
            "conflate": self._interest.conflate,
            "after": before or self._after,
            "written": self._written,
            "sent": self._sent,
            "acknowledged": self._acknowledged,
        }
