"""The time of events, and how far it is. Sans-I/O."""

from datetime import UTC, datetime, timedelta

from pydantic import Field

from services.process_api.pipeline.draft import Draft
from services.process_api.state.keys import EVENT_TIMER
from services.process_api.state.step_state import StepState
from shared.errors import Malformed
from shared.runtime.clock import rfc3339
from shared.settings import Options

MS = 1000
_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_WATERMARK, _SEEN = b"watermark", b"seen"


class TimedOptions(Options):
    """How a step goes by the time of events."""

    lateness: float = Field(default=0, ge=0, le=86_400 * 7)
    """Seconds that an event may be behind the newest one of its partition. A later one goes to the dead letter."""

    ahead: float = Field(default=3600, ge=0, le=86_400 * 7)
    """Seconds that the `time` of an event may be after the time at which it was written to the bus. One that is further
    ahead goes to the dead letter. No event makes the time pass faster than the bus's clock."""

    idle: float | None = Field(default=None, gt=0, le=86_400 * 7)
    """Seconds without an event in the partition after which the time passes by the clock. By default it passes with
    events only, so that an upstream system that is down for long makes no event late."""


class EventTime:
    """The time of a step in one partition: that of its newest event."""

    def __init__(self, options: TimedOptions) -> None:
        self.lateness = int(options.lateness * MS)
        self._ahead = int(options.ahead * MS)
        self._idle = None if options.idle is None else int(options.idle * MS)

    def of(self, draft: Draft, state: StepState) -> int:
        """Return the time of an event in milliseconds since 1970: its attribute `time`, else that of its record.

        Raises:
            Malformed: it is not a time since 1970, or too far ahead.
        """
        moment, written = state.moment, draft.attribute("time")
        if written is None:
            return moment.timestamp
        try:
            found = datetime.fromisoformat(written)
            at = (found.replace(tzinfo=found.tzinfo or UTC) - _EPOCH) // _MILLISECOND
        except (ValueError, OverflowError):
            at = -1
        if at < 0:
            raise Malformed(f"`time` is {written[:40]!r}, expected a time since 1970 in the form of RFC 3339")
        if at > moment.timestamp + self._ahead:
            seconds = (at - moment.timestamp) // MS
            raise Malformed(
                f"`time` is {written[:40]}, {seconds} s after the event was written to the bus;"
                f" `ahead` allows {self._ahead // MS} s"
            )
        return at

    def advance(self, at: int, state: StepState) -> int:
        """Let the time pass up to that of an event; return what it is then."""
        moment = state.moment
        before = self.now(state)
        reached = min(at, moment.timestamp)
        if self._idle is not None:
            state.set_number(_SEEN, moment.now)
        if reached > before:
            state.set_number(_WATERMARK, reached)
            return reached
        return before

    def now(self, state: StepState) -> int:
        """Return what the time is."""
        return state.number(_WATERMARK) or 0

    def pass_idle(self, state: StepState) -> int:
        """Let the time pass by the clock, if the partition is idle; return what it is then."""
        before, moment = self.now(state), state.moment
        if self._idle is None or not moment.idle:
            return before
        reached = moment.now - self._idle
        if (state.number(_SEEN) or 0) > reached or reached <= before:
            return before
        state.set_number(_WATERMARK, reached)
        return reached

    def is_due(self, after: int, state: StepState) -> bool:
        """Return whether a timer of events is due so many milliseconds after it, or the clock may let time pass."""
        first = state.next_timer(EVENT_TIMER)
        return state.moment.idle or (first is not None and first + after <= self.now(state))

    def next_due(self, after: int, state: StepState) -> int | None:
        """Return when the first timer of events is due so many milliseconds after it, unless an event comes before.

        That is now where more timers are due than one call took; else the clock decides, if the partition stays idle.
        """
        first = state.next_timer(EVENT_TIMER)
        if first is None:
            return None
        if first + after <= self.now(state):
            return state.moment.now
        if self._idle is None:
            return None
        return max(first + after, state.number(_SEEN) or 0) + self._idle

    def late(self, at: int, state: StepState) -> Malformed:
        """Return the error for an event that is too late."""
        behind = (self.now(state) - at) / MS
        return Malformed(
            f"late: the event's time {rfc3339(at / MS)} is {behind:.3f} s behind the newest event of its partition;"
            f" `lateness` allows {self.lateness / MS:g} s"
        )
