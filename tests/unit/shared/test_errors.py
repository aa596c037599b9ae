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
    causes,
    system_reason,
    timed_out,
    underlying_reason,
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
        (
            OSError(
                "Multiple exceptions: [Errno 111] Connect call failed ('::1', 9, 0, 0), [Errno 111] Connect call"
                " failed ('127.0.0.1', 9)"
            ),
            "connection refused",
        ),
        (OSError("Multiple exceptions: [Errno 113] a, [Errno 111] b"), "no route to host, Connection refused"),
        (OSError("Multiple exceptions: others"), None),
        (ssl.SSLError(1, "[SSL] record layer failure"), None),
        (ValueError("other"), None),
        (None, None),
    ],
)
def test_errors_of_the_system_have_a_reason_without_numbers(error: Exception | None, reason: str | None) -> None:
    assert system_reason(error) == reason


def of_library(cause: BaseException | None, *, hidden: bool = False) -> BaseException:
    """Return an error as a library raises it for its cause."""
    error = RuntimeError("Error -2 connecting to h:1.")
    if hidden:
        error.__context__, error.__suppress_context__ = cause, True
    else:
        error.__cause__ = cause
    return error


@pytest.mark.parametrize("hidden", [False, True])
def test_the_reason_of_an_error_of_a_library_is_that_of_its_cause(hidden: bool) -> None:
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed")
    assert underlying_reason(of_library(of_library(refused), hidden=hidden)) == "connection refused"
    assert underlying_reason(refused) == "connection refused"
    assert underlying_reason(of_library(OSError(errno.EBADF, "Bad file descriptor"), hidden=hidden)) is None
    assert underlying_reason(of_library(None)) is None


def test_what_takes_too_long_is_told_by_its_cause() -> None:
    assert timed_out(of_library(TimeoutError()))
    assert timed_out(of_library(of_library(TimeoutError("The handshake operation timed out"), hidden=True)))
    assert not timed_out(of_library(TimeoutError(errno.ETIMEDOUT, "of the system"))), "which has a reason"
    assert not timed_out(of_library(None))


def test_endless_causes_end() -> None:
    error = of_library(None)
    error.__cause__ = error
    assert set(causes(error)) == {error}
    assert underlying_reason(error) is None
    assert list(causes(None)) == []
