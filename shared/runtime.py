"""A process from start to exit status: the event loop, signals, one deadline for the end.

    def main() -> int:
        return run_service("experience", ExperienceSettings, build_experience)

How it ends: 0, asked to and done; 1, failed, with the reason in the log; 2, the settings are wrong, said on standard
error in plain words. SIGHUP never ends it: see `shared.reloading`.
"""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol, TypeVar

import uvloop

from shared.allocation import keep_freed_memory
from shared.errors import SettingsError
from shared.logs import LogOptions, configure
from shared.reloading import Reload, SettingsFile
from shared.settings import load
from shared.tasks import cancelled

logger = logging.getLogger(__name__)

Main = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""Runs until it is done, or until the event says to stop; then closes what it opened, in reverse."""

STOP_WITHIN = 25.0
"""Seconds from the signal to the exit: below the 30 that Kubernetes gives before it kills."""

_CANCELLED_WITHIN = 2.0
_STANDARD_ERROR = 2

_DESCRIPTORS = 1_048_576
"""More than one process can serve."""

OK, FAILED, BAD_SETTINGS = 0, 1, 2


class _HasLogs(Protocol):
    @property
    def logs(self) -> LogOptions: ...


class Failing(Protocol):
    """Something that runs, and may fail."""

    async def failed(self) -> BaseException:
        """Wait until something has failed that the process cannot go on without, and return it."""
        ...


class Running(Failing, Protocol):
    """A service that runs."""

    async def reload(self) -> list[str]:
        """Load again what can change while it runs; return what was loaded."""
        ...


Settings = TypeVar("Settings", bound=Any)


def run(main: Main, *, stop_within: float = STOP_WITHIN, reload: Reload | None = None) -> int:
    """Run `main` on an event loop of its own and return the exit status.

    1. The first SIGTERM or SIGINT sets the event that `main` was given; it has `stop_within` seconds to return.
    2. A second signal, or the deadline, cancels it.
    3. What does not even then end within two seconds is left, and the process exits with 1.

    Each SIGHUP calls `reload`, one after the other; before the loop runs, and once it stops, SIGHUP does nothing.
    """
    outlive_hangup()
    keep_freed_memory()
    raise_descriptor_limit()
    fill_standard_streams()
    try:
        return uvloop.run(_until_stopped(main, stop_within, reload or Reload()))
    except SettingsError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 -- whoever typed the command reads it there, before any log is set up
        return BAD_SETTINGS
    finally:
        outlive_hangup()  # the loop has taken its handler away, and with it ours


def outlive_hangup() -> None:
    """Let SIGHUP do nothing. It is handled and not ignored, for what is ignored stays so in child processes."""
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)


def run_service(
    name: str,
    model: type[Settings],
    build: Callable[[Settings], AbstractAsyncContextManager[Running]],
    arguments: Sequence[str] | None = None,
) -> int:
    """Run one service alone: `--config FILE` names its settings, of which `logs` is used here."""
    outlive_hangup()
    parser = argparse.ArgumentParser(prog=f"python -m services.{name}_api", description=f"Trelay's {name} layer.")
    add_config_and_version(parser, os.environ)
    path = parser.parse_args(arguments).config
    if path is None:
        parser.error("no settings: name the file with --config FILE or TRELAY_CONFIG")
    try:
        settings = load(path, model)
    except SettingsError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 -- as above
        return BAD_SETTINGS
    configured: _HasLogs = settings
    configure(configured.logs)
    reload = Reload()
    reload.add(SettingsFile(settings, lambda: load(path, model), _logs_of).reload)

    async def main(stop: asyncio.Event) -> None:
        async with build(settings) as service:
            reload.add(service.reload)
            settle()
            logger.info("started", extra={"service": name, "pid": os.getpid()})
            await until(stop, service)
            logger.info("stopping", extra={"service": name})

    return run(main, reload=reload)


def add_config_and_version(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    """Add `--config`, which may stand in the environment as well, and `--version`."""
    given = environment.get("TRELAY_CONFIG") or None
    parser.add_argument(
        "--config", type=Path, metavar="FILE", default=given, help="the settings file, in YAML (TRELAY_CONFIG)"
    )
    parser.add_argument("--version", action="version", version=f"trelay {_release()}", help="print the release")


def _release() -> str:
    try:
        return version("trelay")
    except PackageNotFoundError:
        return "(not installed)"


def _logs_of(settings: _HasLogs) -> LogOptions:
    return settings.logs


def raise_descriptor_limit() -> None:
    """Use all the file descriptors that the system lets us have.

    The usual soft limit, 1,024, is meant for programs that call `select`; here every subscriber takes one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # some systems refuse what they say is allowed
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def fill_standard_streams() -> None:
    """Open what is closed of the file descriptors 0 to 2, to nowhere.

    Else the next socket gets such a number, and libuv, which never closes those three, ends the process over it.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        pass
    os.close(number)


async def until(stop: asyncio.Event, service: Failing) -> None:
    """Return when asked to stop; raise what the service failed with, if that comes first."""
    stopping = asyncio.get_running_loop().create_task(stop.wait(), name="stop asked")
    failing = asyncio.get_running_loop().create_task(service.failed(), name="service failed")
    try:
        await asyncio.wait({stopping, failing}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            raise failing.result()
    finally:
        await cancelled(stopping)
        await cancelled(failing)


def settle() -> None:
    """Tell the garbage collector that what exists now will live as long as the process.

    Call it once everything is built. It then looks at young objects rarely and at those never: 15 to 30 % of the time
    of a hot loop.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


async def _until_stopped(main: Main, stop_within: float, reload: Reload) -> int:
    loop = asyncio.get_running_loop()
    stop, hangup = asyncio.Event(), asyncio.Event()
    work = loop.create_task(main(stop), name="main")
    reloading = loop.create_task(_reload_on(hangup, reload), name="reload")

    def asked(number: int) -> None:
        if stop.is_set():
            work.cancel()
            return
        logger.info("asked to stop by %s", signal.Signals(number).name)
        stop.set()
        loop.call_later(stop_within, work.cancel)
        # Also while the loop waits for threads after `main` has ended.
        loop.call_later(stop_within + _CANCELLED_WITHIN, _leave, stop_within)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked, number)
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    await asyncio.wait({work})
    await cancelled(reloading)
    # Unasked, too: a thread that hangs must not keep a service that failed from being started again.
    loop.call_later(stop_within, _leave, stop_within)
    return _status(work, stop_within)


async def _reload_on(hangup: asyncio.Event, reload: Reload) -> None:
    while True:
        await hangup.wait()
        hangup.clear()
        await reload()


def _leave(stop_within: float) -> None:
    logger.critical("not stopped within %g seconds and cannot be cancelled: leaving as it is", stop_within)
    logging.shutdown()
    os._exit(FAILED)


def _status(work: asyncio.Task[None], stop_within: float) -> int:
    if work.cancelled():
        logger.error("cancelled: not stopped within %g seconds, or told twice", stop_within)
        return FAILED
    error = work.exception()
    if isinstance(error, SettingsError):
        raise error
    if error is not None:
        logger.critical("failed: %s", error, exc_info=error)
        return FAILED
    return OK
