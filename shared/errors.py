"""The tree of errors, divided by what the caller should do.

Each package translates the exceptions of its client library into these in one place, and keeps the cause, so that no
caller needs to know the library.
"""

import errno
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Self


class TrelayError(Exception):
    """Any error that Trelay raises itself. Its text names the place and never contains a secret."""


class Unavailable(TrelayError):
    """An external system does not answer, or cannot answer now: retry."""


class Unauthorized(Unavailable):
    """An external system refuses the credentials.

    Retry as well, because credentials can be corrected while the service runs. The text says that waiting alone does
    not help.
    """


class Fenced(TrelayError):
    """A newer owner has taken over: stop, and do not retry."""


class PositionLost(TrelayError):
    """The records at a position are no longer kept: report it to the reader, never skip them silently."""

    def __init__(self, topic: str, partition: int, offset: int, earliest: int, *, truncated: bool = False) -> None:
        """Name the requested position, and in `earliest` the offset at which reading can resume.

        That is the earliest offset that is kept; or, where an unclean leader election `truncated` the log below the
        position, the offset at which the log differs from what was read before.
        """
        cause = (
            f"is beyond a truncation of the log, which differs from what was read before from {earliest} on"
            if truncated
            else f"is no longer kept, the earliest is {earliest}"
        )
        super().__init__(f"{topic}/{partition}: offset {offset} {cause}")
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.earliest = earliest
        self.truncated = truncated


class Malformed(TrelayError):
    """Input that can never be accepted: it goes to the dead letter, or back to its sender."""

    event: int | None = None
    """The index of the event at fault, where the input is a batch of events and that is known."""

    @classmethod
    def of_event(cls, index: int, text: str) -> Self:
        """Return the error of one event of a batch."""
        error = cls(f"event {index}: {text}")
        error.event = index
        return error


class TooLarge(Malformed):
    """Input above a limit; the text names both sizes."""


class ProblemError(TrelayError):
    """An error that defines its own HTTP response, as problem details (RFC 9457)."""

    def __init__(
        self, text: str, *, status: int, detail: str, headers: Mapping[str, str], members: Mapping[str, Any]
    ) -> None:
        """`detail` is for the sender of the request; `members` are added to status and detail."""
        super().__init__(text)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.members = members


class SettingsError(TrelayError):
    """The settings are wrong; the text names the path in the file, what was found and what was expected."""


_MOST_CAUSES = 10
_NUMBER = re.compile(r"\[Errno (\d+)\]")


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it, also where the library that raised it hides that; a few at most."""
    for _ in range(_MOST_CAUSES):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def system_text(error: BaseException | None) -> str | None:
    """Return the text of an error of the system or of the name resolution, as `Connection refused`; None for others.

    The texts of the event loops have the number of the error, and some of them the address again.
    """
    if not isinstance(error, OSError) or isinstance(error, ssl.SSLError):
        return None
    if not error.errno:
        # A name with several addresses: asyncio joins the texts, and drops the errors.
        numbers = dict.fromkeys(_NUMBER.findall(str(error))) if str(error).startswith("Multiple exceptions") else {}
        return ", ".join(os.strerror(int(number)) for number in numbers) or None
    # Those of the name resolution have negative numbers and their own texts.
    return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)


def system_reason(error: BaseException | None) -> str | None:
    """Return `system_text` as the end of a sentence: `connection refused`."""
    text = system_text(error)
    return None if text is None else text[:1].lower() + text[1:]


def underlying_reason(error: BaseException) -> str | None:
    """Return the `system_reason` of an error of a library: that of the first of its causes that has one."""
    for each in causes(error):
        reason = system_reason(each)
        # A library that closes a lost connection twice.
        if reason is not None and getattr(each, "errno", None) != errno.EBADF:
            return reason
    return None


def timed_out(error: BaseException) -> bool:
    """Return whether an error of a library is that something took too long, by its causes."""
    return any(isinstance(each, TimeoutError) and system_text(each) is None for each in causes(error))
