"""Windows over the time of events. All times are in milliseconds since 1970. Sans-I/O."""

from typing import NamedTuple

from pydantic import Field, model_validator

from shared.settings import Options

_MS = 1000
_MOST_SPANS = 1000
_LONGEST = 86_400 * 366


class Span(NamedTuple):
    """The time of a window, without its end."""

    start: int
    end: int


class Window(Options):
    """One of `tumbling`, `sliding` with `every`, and `session`."""

    tumbling: float | None = Field(default=None, gt=0, le=_LONGEST)
    """Seconds of windows that follow each other, from 1970 on: 3600 for each hour in UTC."""

    sliding: float | None = Field(default=None, gt=0, le=_LONGEST)
    """Seconds of windows that overlap: one begins every `every` seconds, and an event is in all that cover its time."""

    every: float | None = Field(default=None, gt=0, le=_LONGEST)
    """Seconds between the beginnings of sliding windows; at most 1000 windows cover a time."""

    session: float | None = Field(default=None, gt=0, le=_LONGEST)
    """Seconds without an event that end a window. Its length is not bounded."""

    @model_validator(mode="after")
    def _one(self) -> "Window":
        kinds = [name for name in ("tumbling", "sliding", "session") if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError(
                f"found {' and '.join(kinds) or 'no window'}; expected one of tumbling, sliding and session"
            )
        if (self.sliding is None) != (self.every is None):
            raise ValueError("`sliding` and `every` belong together, such as {sliding: 60, every: 10}")
        for name in ("tumbling", "sliding", "every", "session"):
            value = getattr(self, name)
            if value is not None and (value * _MS) % 1:
                raise ValueError(f"{name}: found {value}; expected whole milliseconds")
        if self.sliding is not None and self.every is not None:
            if self.every > self.sliding:
                raise ValueError("`every` is longer than `sliding`: events between the windows would be in none")
            if self.sliding / self.every > _MOST_SPANS:
                raise ValueError(f"`sliding` is more than {_MOST_SPANS} times `every`")
        return self

    @property
    def spans(self) -> "Spans":
        """Return the windows of a time."""
        if self.session is not None:
            return Spans(0, 0, int(self.session * _MS))
        size = int((self.tumbling or self.sliding or 0) * _MS)
        return Spans(size, int((self.every or 0) * _MS) or size, 0)


class Spans(NamedTuple):
    """Which windows cover a time."""

    size: int
    step: int
    gap: int
    """Of sessions; else 0."""

    def of(self, at: int) -> list[Span]:
        """Return the windows that cover a time, oldest first; of sessions, the one that an event alone makes."""
        if self.gap:
            return [Span(at, at + self.gap)]
        last = at - at % self.step
        first = max(0, ((at - self.size) // self.step + 1) * self.step)
        return [Span(start, start + self.size) for start in range(first, last + 1, self.step)]


def touch(one: Span, other: Span) -> bool:
    """Whether two sessions are one."""
    return one.start < other.end and other.start < one.end


def union(one: Span, other: Span) -> Span:
    """Return the session that two make."""
    return Span(min(one.start, other.start), max(one.end, other.end))
