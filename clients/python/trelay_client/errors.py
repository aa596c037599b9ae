"""The errors of the client library."""


class TrelayClientError(Exception):
    """The base of the errors of the client library."""


class UsageError(TrelayClientError):
    """An argument cannot be used: an invalid URL, or a cursor file that cannot be read or written."""
