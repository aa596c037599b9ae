"""A pytest plugin: end a process in which a test hangs, with the stacks of its threads.

The time limit of pytest-timeout is not enough. It is lifted when a test fails, so that nothing limits the teardown of
that test; and its signal raises an error in whatever runs at that moment, which may be code that catches every error,
or not Python at all. Here each phase of a test is limited by a thread of C. pytest-xdist then names the test, reports
it as failed, and runs the remaining ones in a new process.
"""

import faulthandler
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest

GRACE = pytest.StashKey[float]()
STDERR = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "hang_grace",
        "Seconds after the time limit of a test, after which its process ends if a phase of the test is still running",
        default="240",
    )


def pytest_configure(config: pytest.Config) -> None:
    assert sys.__stderr__ is not None
    config.stash[GRACE] = float(config.getini("hang_grace"))
    config.stash[STDERR] = os.dup(sys.__stderr__.fileno())  # that of the process, not what a test captures


@contextmanager
def _limited(item: pytest.Item) -> Iterator[None]:
    marker = item.get_closest_marker("timeout")
    limit = float(marker.args[0]) if marker else float(item.config.getvalue("timeout") or item.config.getini("timeout"))
    seconds = limit + item.config.stash[GRACE]
    # Armed anew for each phase: pytest's own plugin disarms it after an error.
    faulthandler.dump_traceback_later(seconds, exit=True, file=item.config.stash[STDERR])
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    with _limited(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with _limited(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    with _limited(item):
        return (yield)
