"""Translates the errors of the client library."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import SettingsError, TrelayError
from trelay_client import TrelayClientError, UsageError


@contextmanager
def client_errors_translated() -> Iterator[None]:
    """Translate the errors of the client library in the context into Trelay's, with the same text.

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
