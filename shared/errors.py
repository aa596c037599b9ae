"""One tree of errors, cut by what the caller should do.

Exceptions of client libraries are translated into these in one place a package, with the cause kept, so that no
caller needs to know which library is underneath.
"""


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
    """The records at a position are no longer kept: say so to whoever asked, never skip in silence."""

    def __init__(self, topic: str, partition: int, offset: int, earliest: int) -> None:
        """Name the position asked for and the earliest one that can still be read."""
        super().__init__(f"{topic}/{partition}: offset {offset} is no longer kept, the earliest is {earliest}")
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.earliest = earliest


class Malformed(TrelayError):
    """Input that will never be accepted as it is: to the dead letter, or back to its sender."""


class TooLarge(Malformed):
    """Input above a limit; the text names both sizes."""


class SettingsError(TrelayError):
    """The configuration is wrong; the text names the path in the file, what is wrong and what would be right."""
