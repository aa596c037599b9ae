"""One tree of errors, cut by what the caller should do.

Exceptions of client libraries are translated into these in one place a package, with the cause kept, so that no
caller needs to know which library is underneath.
"""

from collections.abc import Mapping


class TrelayError(Exception):
    """Anything Trelay raises on purpose. Its text names the place and never holds a secret."""


class Unavailable(TrelayError):
    """Something outside does not answer, or not now: worth retrying."""


class Unauthorized(Unavailable):
    """Something outside refuses our credentials.

    Retried as well, for credentials are mended while we run, but said differently: waiting alone will not help.
    """


class Fenced(TrelayError):
    """A newer owner has taken over: stop, and do not retry."""


class PositionLost(TrelayError):
    """The records at a position are not kept: tell the reader, never skip them silently."""

    def __init__(self, topic: str, partition: int, offset: int, earliest: int, *, truncated: bool = False) -> None:
        """Name the position asked for, and the offset from which reading can go on.

        That is the earliest one kept; or, where the log was `truncated` below the position by an unclean election of a
        leader, the one where it parts from what was read before.
        """
        cause = (
            f"is beyond a truncation of the log, which parts from what was read before at {earliest}"
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
    """Input that will never be accepted as it is: to the dead letter, or back to its sender."""


class TooLarge(Malformed):
    """Input above a limit; the text names both sizes."""


class ProblemError(TrelayError):
    """An error that defines its own HTTP response, as problem details (RFC 9457)."""

    def __init__(
        self, text: str, *, status: int, detail: str, headers: Mapping[str, str], members: Mapping[str, str]
    ) -> None:
        """`detail` is for the sender of the request; `members` are added to status and detail."""
        super().__init__(text)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.members = members


class SettingsError(TrelayError):
    """The configuration is wrong; the text names the path in the file, what is wrong and what would be right."""
