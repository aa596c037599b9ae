"""The errors of the client library."""


class TrelayClientError(Exception):
    """Anything the client library raises on purpose."""


class UsageError(TrelayClientError):
    """An argument cannot be used: a URL that is no address of Trelay, a cursor file that cannot be read or written."""


class Malformed(TrelayClientError):
    """The server sent a frame that is no event."""
