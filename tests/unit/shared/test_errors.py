"""The tree of errors: cut by what the caller should do."""

import errno
import socket
import ssl

import pytest

from shared.errors import (
    Fenced,
    Malformed,
    PositionLost,
    SettingsError,
    TooLarge,
    TrelayError,
    Unauthorized,
    Unavailable,
    system_reason,
)


def test_a_lost_position_names_itself_and_what_is_left() -> None:
    error = PositionLost("trelay.publish", 3, 17, 42)
    assert str(error) == "trelay.publish/3: offset 17 is no longer kept, the earliest is 42"
    assert (error.topic, error.partition, error.offset, error.earliest) == ("trelay.publish", 3, 17, 42)


@pytest.mark.parametrize("kind", [Fenced, Malformed, SettingsError, TooLarge])
def test_what_would_fail_again_is_not_retried(kind: type[TrelayError]) -> None:
    assert not issubclass(kind, Unavailable)
    assert issubclass(kind, TrelayError)


def test_refused_credentials_are_retried_for_they_are_mended_while_we_run() -> None:
    assert issubclass(Unauthorized, Unavailable)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 9)"), "connection refused"),
        (OSError(errno.EHOSTUNREACH, "[Errno 113] Connect call failed"), "no route to host"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name or service not known"),
        (ConnectionResetError("lost"), None),
        (ssl.SSLError(1, "[SSL] record layer failure"), None),
        (ValueError("other"), None),
        (None, None),
    ],
)
def test_errors_of_the_system_have_a_reason_without_numbers(error: Exception | None, reason: str | None) -> None:
    assert system_reason(error) == reason
