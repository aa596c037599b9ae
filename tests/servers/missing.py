"""What happens to tests whose server cannot be had: skipped and named at the end, or failed where CI=true.

The end also names what was done again because it failed once.
"""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from services.standalone.embedded.process import ServerMissing
from tests.servers.processes import repeated

_MISSING = pytest.StashKey[dict[str, str]]()


@contextmanager
def skipping_without(name: str, config: pytest.Config) -> Iterator[None]:
    """Skip the tests that need a server if it cannot be had, and remember why."""
    try:
        yield
    except ServerMissing as exc:
        reason = " ".join(str(exc).split())
        config.stash.setdefault(_MISSING, {})[name] = reason
        pytest.skip(f"{name}: {reason}")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take from a worker of pytest-xdist which servers it missed."""
    given = getattr(node, "workeroutput", {})
    node.config.stash.setdefault(_MISSING, {}).update(given.get("missing", {}))
    repeated.extend(given.get("repeated", ()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run in CI, where its last lines are not read."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["missing"] = session.config.stash.get(_MISSING, {})
        session.config.workeroutput["repeated"] = repeated
    if os.environ.get("CI") == "true" and session.config.stash.get(_MISSING, {}):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Generator[None, None, None]:
    """Print at the very end which servers were missing, and why."""
    yield
    for error in repeated:
        terminalreporter.write_line(f"tried again after: {error}", yellow=True)
    for name, reason in config.stash.get(_MISSING, {}).items():
        verdict = "FAILED, for CI=true" if os.environ.get("CI") == "true" else "skipped"
        terminalreporter.write_line(f"no {name}: {reason}; the tests that need it are {verdict}", yellow=True)
