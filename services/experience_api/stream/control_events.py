"""What the experience layer itself has to say, as events: a subscriber parses one thing.

Each is a CloudEvent from `/trelay`. Those that have a `cursor` have it where every event does: keep the cursor of the
last frame that has one, and resume from there.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.experience_api.hub.connection import Subscriber
from services.experience_api.wire.frames import text_frame
from shared.runtime.clock import Clock, rfc3339

CONNECTED = "trelay.connected"
GAP = "trelay.gap"
REFUSED = "trelay.refused"
DRAINING = "trelay.draining"

NOT_KEPT = "not-kept"
"""Reason of a gap: retention took what comes next."""
CURSOR_AHEAD = "cursor-ahead"
"""Reason of a gap: the cursor lies behind the end of a log that has since become shorter."""
LOG_CUT = "log-cut"
"""Reason of a gap: the log has become shorter under a live stream."""
TOPIC_REPLACED = "topic-replaced"
"""Reason of a gap: the publish topic was made anew under a live stream."""

_json = msgspec.json.Encoder().encode


class OwnEvents:
    """Makes their frames."""

    def __init__(self, clock: Clock, heartbeat: float) -> None:
        """`heartbeat` is the seconds within which something comes to every subscriber, a ping at least."""
        self._clock = clock
        self._heartbeat = heartbeat

    def connected(self, subscriber: Subscriber, cursor: bytes) -> bytes:
        """Return the first frame: the cursor says where the stream begins."""
        data = {
            "connection": str(subscriber.connection_id),
            "channels": subscriber.interest.patterns,
            "heartbeat": self._heartbeat,
        }
        return self._frame(CONNECTED, f"{subscriber.connection_id}/connected", data, cursor)

    def gap(self, subscriber: Subscriber | None, reason: str, detail: str, cursor: bytes) -> bytes:
        """Return what is said where events may be missing: why, and the cursor behind them; to one or to everybody."""
        place = f"gap/{cursor.decode()}"
        identity = place if subscriber is None else f"{subscriber.connection_id}/{place}"
        return self._frame(GAP, identity, {"reason": reason, "detail": detail}, cursor)

    def refused(self, subscriber: Subscriber, detail: str) -> bytes:
        """Return the answer to what was sent and is not accepted."""
        return self._frame(REFUSED, f"{subscriber.connection_id}/refused", {"detail": detail})

    def draining(self, subscriber: Subscriber, wait: float) -> bytes:
        """Return the warning that this replica closes the connection now; `wait` is when to come back, in seconds."""
        return self._frame(DRAINING, f"{subscriber.connection_id}/draining", {"wait": round(wait, 1)})

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
