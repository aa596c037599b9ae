"""Encodes the relay's own events, such as connected, gap and draining.

Each is a CloudEvent with the source `/trelay`. Those with a `cursor` carry it where every event does: a subscriber
keeps the cursor of the last frame that has one, and resumes from it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from services.experience_api.hub.audience import Subscriber
from services.experience_api.stream.oversized import LARGE
from services.experience_api.wire.frames import EventFrame, read_frame, text_frame
from shared.runtime.clock import Clock, rfc3339

CONNECTED = "trelay.connected"
GAP = "trelay.gap"
SUBSCRIBED = "trelay.subscribed"
REFUSED = "trelay.refused"
ACCEPTED = "trelay.accepted"
REJECTED = "trelay.rejected"
DRAINING = "trelay.draining"
OVERSIZED = "trelay.oversized"
HEARTBEAT = "trelay.heartbeat"
WATERMARK = "trelay.watermark"
SNAPSHOT = "trelay.snapshot"

PRESENCE_CHANNEL = "trelay.presence"
"""The channel that says which clients have come and left."""

NOT_KEPT = "not-kept"
"""Gap: retention removed the next events before they were read."""
CURSOR_AHEAD = "cursor-ahead"
"""Gap: the cursor lies beyond the end of a log that was truncated since."""
LOG_CUT = "log-cut"
"""Gap: the log was truncated under a live stream."""
TOPIC_REPLACED = "topic-replaced"
"""Gap: the publish topic was recreated under a live stream."""

_json = msgspec.json.Encoder().encode


class Receipt(NamedTuple):
    """What became of a message of a client."""

    event_id: str
    """The id of its event on the inbound topic; empty if it was rejected."""
    sent_id: str | None = None
    """The id that the client gave it."""
    code: str = ""
    """The code of the refusal if it was rejected."""
    detail: str = ""


class SnapshotBegins(NamedTuple):
    """What a subscriber is told of a snapshot."""

    restarts: int
    """How often it has begun again on this connection."""
    behind: int
    """Records of the stream that it does not include yet, of those that this replica has read: they follow it."""
    copied_ms: int
    """The time of the newest event that it includes; 0 if there is none."""
    missed: int
    """Records that retention removed before a snapshot could include them."""
    reason: str
    """Why it begins again; empty if it does not."""


class ControlEvents:
    """Encodes control events as frames."""

    def __init__(self, clock: Clock, heartbeat: float, largest_frame: int, largest_message: int = 256 * 1024) -> None:
        """`heartbeat` is the number of seconds within which every subscriber receives something, a ping at least.

        `largest_frame` is the bytes of the largest message that a subscriber has to accept, `largest_message` those of
        the largest one that it may send.
        """
        self._clock = clock
        self._heartbeat = heartbeat
        self._largest_frame = largest_frame
        self._largest_message = largest_message

    def connected(self, subscriber: Subscriber, cursor: bytes) -> bytes:
        """Return the first frame of a connection. The stream begins at the cursor."""
        data = {
            "connection": str(subscriber.connection_id),
            **_received(subscriber),
            "heartbeat": self._heartbeat,
            "largest_frame": self._largest_frame,
            **({"largest_message": self._largest_message} if subscriber.may_send else {}),
        }
        return self._frame(CONNECTED, f"{subscriber.connection_id}/connected", data, cursor)

    def gap(self, subscriber: Subscriber | None, reason: str, detail: str, cursor: bytes) -> bytes:
        """Return the frame that reports missing events, to one subscriber or to all. Events after the cursor follow."""
        suffix = f"gap/{cursor.decode()}"
        identity = suffix if subscriber is None else f"{subscriber.connection_id}/{suffix}"
        return self._frame(GAP, identity, {"reason": reason, "detail": detail}, cursor)

    def oversized(self, subscriber: Subscriber, event: EventFrame) -> bytes:
        """Return the frame that announces an event for which the subscriber has closed its connection with 1009."""
        found = event.attributes
        data = {
            "source": found.get("source"),
            "id": found.get("id"),
            "bytes": event.size,
            "skip": event.cursor,
            "detail": (
                f"the next event has {event.size} bytes, and your connections ended with 1009 here: accept larger "
                "messages, or skip it with the cursor `skip`"
            ),
        }
        return self._frame(OVERSIZED, f"{subscriber.connection_id}/oversized/{event.cursor}", data)

    def announced(self, subscriber: Subscriber, frames: Iterable[bytes]) -> Iterator[bytes]:
        """Yield frames of events, each large one behind the frame that announces it."""
        for frame in frames:
            if len(frame) > LARGE:
                yield self.oversized(subscriber, read_frame(frame))
            yield frame

    def subscribed(self, subscriber: Subscriber, reason: str, cursor: bytes) -> bytes:
        """Return the frame after which the subscriber receives the events of other channels than before."""
        data = {**_received(subscriber), "reason": reason}
        return self._frame(SUBSCRIBED, f"{subscriber.connection_id}/subscribed/{cursor.decode()}", data, cursor)

    def refused(self, subscriber: Subscriber, detail: str) -> bytes:
        """Return the frame that refuses a message of the subscriber."""
        return self._frame(REFUSED, f"{subscriber.connection_id}/refused", {"detail": detail})

    def received(self, subscriber: Subscriber, number: int, receipt: Receipt) -> bytes:
        """Return the frame that says what became of a message; `number` counts those of the connection from 1."""
        data: dict[str, Any] = {"message": number, **({"id": receipt.sent_id} if receipt.sent_id else {})}
        if not receipt.code:
            identity = f"{subscriber.connection_id}/accepted/{number}"
            return self._frame(ACCEPTED, identity, {**data, "event": receipt.event_id})
        rejected = {**data, "code": receipt.code, "detail": receipt.detail}
        return self._frame(REJECTED, f"{subscriber.connection_id}/rejected/{number}", rejected)

    def draining(self, subscriber: Subscriber, wait: float, cursor: bytes | None = None) -> bytes:
        """Return the frame that announces a shutdown; `wait` is the seconds to wait before reconnecting.

        `cursor` is that of the head if the subscriber has received everything up to it, else None: one whose channels
        are quiet then resumes from there, and not from its last event, which may lie hours back.
        """
        return self._frame(DRAINING, f"{subscriber.connection_id}/draining", {"wait": round(wait, 1)}, cursor)

    def heartbeat(self, subscriber: Subscriber, cursor: bytes | None = None) -> bytes:
        """Return the frame that shows a script that the connection lives: scripts in browsers see no pings.

        `cursor` is as for `draining`.
        """
        return self._frame(HEARTBEAT, f"{subscriber.connection_id}/heartbeat", {}, cursor)

    def watermark(self, source: str, as_of_ms: int, channels: Iterable[str]) -> bytes:
        """Return the frame that says up to when a source has been read, for those of its channels."""
        data = {
            "source": f"/sources/{source}",
            "as_of": rfc3339(as_of_ms / 1000),
            "channels": list(channels),
        }
        return self._frame(WATERMARK, f"watermark/{source}/{as_of_ms}", data)

    def snapshot_begins(self, subscriber: Subscriber, begins: SnapshotBegins, cursor: bytes) -> bytes:
        """Return the frame behind which the latest event of each subject follows."""
        now = self._clock.time()
        as_of = min(begins.copied_ms / 1000, now) if begins.behind else now
        data = {
            "phase": "begin",
            "as_of": rfc3339(as_of) if as_of else None,
            "behind": begins.behind,
            "missed": begins.missed,
            **({"restarted": begins.reason} if begins.reason else {}),
        }
        return self._frame(SNAPSHOT, f"{subscriber.connection_id}/snapshot/{begins.restarts}/begin", data, cursor)

    def snapshot_ends(
        self, subscriber: Subscriber, restarts: int, count: int, cursor: bytes, not_kept: Sequence[str] = ()
    ) -> bytes:
        """Return the frame behind which the stream follows. `count` is of the events on this connection.

        `not_kept` are channels and patterns of which the snapshot does not have everything.
        """
        data = {"phase": "end", "count": count, **({"not_kept": list(not_kept)} if not_kept else {})}
        return self._frame(SNAPSHOT, f"{subscriber.connection_id}/snapshot/{restarts}/end", data, cursor)

    def _frame(self, kind: str, identity: str, data: Mapping[str, Any], cursor: bytes | None = None) -> bytes:
        event = {
            "specversion": "1.0",
            "id": identity,
            "source": "/trelay",
            "type": kind,
            "time": rfc3339(self._clock.time()),
            **({} if cursor is None else {"cursor": cursor.decode()}),
            "datacontenttype": "application/json",
            "data": data,
        }
        return text_frame(_json(event))


def _received(subscriber: Subscriber) -> Mapping[str, Any]:
    """Return what a subscriber receives."""
    interest = subscriber.interest
    return {
        "channels": interest.patterns,
        **({"filters": interest.filters} if interest.filters else {}),
        **({"conflate": interest.conflate} if interest.conflate else {}),
    }
