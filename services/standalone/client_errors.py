"""The client library's errors, raised as our own."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import SettingsError, TrelayError
from trelay_client import TrelayClientError, UsageError


@contextmanager
def client_errors_translated() -> Iterator[None]:
    """Raise what the client library raises inside as an error of ours, with the same text.

    Raises:
        SettingsError: an argument of the client library cannot be used.
        TrelayError: the client library failed otherwise.
    """
    try:
        yield
    except UsageError as exc:
        raise SettingsError(str(exc)) from exc
    except TrelayClientError as exc:
        raise TrelayError(str(exc)) from exc
