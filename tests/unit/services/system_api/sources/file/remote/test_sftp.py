"""What is logged of a lost connection; the connection itself is tested on a real server."""

import logging

import asyncssh
import pytest

from services.system_api.sources.file.remote.sftp import _FILTER


def record(message: str, error: Exception | None = None, thread: str = "fsspecIO") -> logging.LogRecord:
    info = None if error is None else (type(error), error, None)
    found = logging.LogRecord("asyncio", logging.WARNING, __file__, 1, message, None, info)
    found.threadName = thread
    return found


@pytest.mark.parametrize("error", [asyncssh.ConnectionLost("gone"), asyncssh.SFTPNoConnection("gone")])
def test_the_errors_of_the_other_requests_of_a_read_are_not_logged(error: Exception) -> None:
    assert not _FILTER.filter(record("Task exception was never retrieved", error))
    assert not _FILTER.filter(record("Task exception was never retrieved", error, "MainThread"))


def test_requests_to_a_connection_that_is_lost_are_not_logged() -> None:
    assert not _FILTER.filter(record("socket.send() raised exception."))


@pytest.mark.parametrize(
    "other",
    [
        record("Task exception was never retrieved", ValueError("a fault")),
        record("Task was destroyed but it is pending!"),
        record("socket.send() raised exception.", thread="MainThread"),
    ],
)
def test_everything_else_is_logged(other: logging.LogRecord) -> None:
    assert _FILTER.filter(other)
