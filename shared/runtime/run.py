"""A process from start to exit status: the event loop, the signals, one deadline for the shutdown.

    def main() -> int:
        return run_service("experience_api", ExperienceSettings, build_experience_api)

Exit status: 0, stopped on request; 1, failed, with the reason in the log; 2, the settings are wrong, with the reason on
standard error. SIGHUP does not stop it: see `shared.runtime.reloading`.
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
from pathlib import Path
from typing import Any, Protocol, TypeVar

import uvloop

from shared.errors import SettingsError
from shared.runtime.allocation import keep_freed_memory
from shared.runtime.identity import Identity, release, unique_node_name
from shared.runtime.logs import LogOptions, configure
from shared.runtime.reloading import Reload, ReloadOptions, Section, SettingsFile, log_section
from shared.runtime.tasks import cancelled, started
from shared.settings import load

logger = logging.getLogger(__name__)

Main = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""Runs until it is done or the event is set; then closes what it opened, in reverse."""

SHUTDOWN_TIMEOUT = 25.0
"""Seconds from the signal to the exit: below the 30 that Kubernetes waits before it kills."""

_CANCEL_TIMEOUT = 2.0
_STANDARD_ERROR = 2

_DESCRIPTORS = 1_048_576
"""More than one process can serve."""

OK, FAILED, BAD_SETTINGS = 0, 1, 2


class ServiceSettings(Protocol):
    """The settings of the process, which every service has."""

    @property
    def logs(self) -> LogOptions:
        """How it logs."""
        ...

    @property
    def reload(self) -> ReloadOptions:
        """When it loads its settings file again."""
        ...

    @property
    def node(self) -> str | None:
        """The name of this replica; None: one that is new at each start."""
        ...


class Failing(Protocol):
    """Something that runs and can fail."""

    async def failed(self) -> BaseException:
        """Wait until something fails that the process cannot run without, and return the error."""
        ...


class Running(Failing, Protocol):
    """A service while it runs."""

    @property
    def sections(self) -> Sequence[Section]:
        """The sections of the settings file that can change while it runs."""
        ...

    def show_settings(self, file: SettingsFile[Any]) -> None:
        """Show whether its settings file is in use."""
        ...

    async def reload(self) -> list[str]:
        """Load again what else can change while it runs; return what was loaded."""
        ...


Settings = TypeVar("Settings", bound=Any)
Settings_contra = TypeVar("Settings_contra", contravariant=True)


class Build(Protocol[Settings_contra]):
    """Runs a service for as long as the context lasts."""

    def __call__(self, settings: Settings_contra, *, node: str) -> AbstractAsyncContextManager[Running]:
        """Return the context."""
        ...


def run(main: Main, *, shutdown_timeout: float = SHUTDOWN_TIMEOUT, reload: Reload | None = None) -> int:
    """Run `main` on an event loop of its own and return the exit status.

    1. The first SIGTERM or SIGINT sets the event of `main`, which then has `shutdown_timeout` seconds to return.
    2. A second signal, or the deadline, cancels it.
    3. If it has not ended two seconds later, the process exits with 1 all the same.

    Each SIGHUP calls `reload`, one after the other. Before the loop runs, and once it has stopped, SIGHUP does nothing.
    """
    outlive_hangup()
    keep_freed_memory()
    raise_descriptor_limit()
    fill_standard_streams()
    try:
        return uvloop.run(_until_stopped(main, shutdown_timeout, reload or Reload()))
    except SettingsError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 -- for the user at the terminal; logging may not be configured yet
        return BAD_SETTINGS
    finally:
        outlive_hangup()  # the loop has removed its handler, and ours with it


def outlive_hangup() -> None:
    """Let SIGHUP do nothing. It is handled and not ignored, for what is ignored stays so in child processes."""
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)


def run_service(
    service: str, model: type[Settings], build: Build[Settings], arguments: Sequence[str] | None = None
) -> int:
    """Run one service alone and return the exit status. `--config FILE` names its settings."""
    outlive_hangup()
    parser = argparse.ArgumentParser(prog=f"python -m services.{service}", description=f"Trelay's {service}.")
    add_config_and_version(parser, os.environ)
    path = parser.parse_args(arguments).config
    if path is None:
        parser.error("no settings: name the file with --config FILE or TRELAY_CONFIG")
    try:
        settings = load(path, model)
    except SettingsError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 -- as above
        return BAD_SETTINGS
    configured: ServiceSettings = settings
    identity = Identity(service, configured.node or unique_node_name())
    configure(configured.logs, identity)
    logs = log_section(_logs_of, lambda logs: configure(logs, identity))
    file = SettingsFile(settings, lambda files: load(path, model, files=files), [logs], name=str(path))
    reload = Reload()
    reload.add(file.reload)

    async def main(stop: asyncio.Event) -> None:
        async with build(settings, node=identity.node) as running:
            file.add(*running.sections)
            reload.add(running.reload)
            running.show_settings(file)
            settle()
            logger.info("started", extra={"pid": os.getpid()})
            following = started("settings file", file.follow(configured.reload))
            try:
                await until(stop, running)
            finally:
                await cancelled(following)
            logger.info("stopping")

    return run(main, reload=reload)


def add_config_and_version(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    """Add `--config`, which may stand in the environment as well, and `--version`."""
    given = environment.get("TRELAY_CONFIG") or None
    parser.add_argument(
        "--config", type=Path, metavar="FILE", default=given, help="the settings file, in YAML (TRELAY_CONFIG)"
    )
    parser.add_argument("--version", action="version", version=f"trelay {release()}", help="print the release")


def _logs_of(settings: ServiceSettings) -> LogOptions:
    return settings.logs


def raise_descriptor_limit() -> None:
    """Raise the limit of open file descriptors to what the system allows.

    The usual soft limit, 1,024, is meant for programs that call `select`; here every subscriber needs one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # some systems refuse what they report as allowed
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def fill_standard_streams() -> None:
    """Open those of the file descriptors 0 to 2 that are closed, on /dev/null.

    Otherwise the next socket gets such a number, and libuv, which never closes these three, aborts the process.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        pass
    os.close(number)


async def until(stop: asyncio.Event, service: Failing) -> None:
    """Return when `stop` is set; if the service fails first, raise its error."""
    stopping = started("stop requested", stop.wait())
    failing = started("service failed", service.failed())
    try:
        await asyncio.wait({stopping, failing}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            raise failing.result()
    finally:
        await cancelled(stopping)
        await cancelled(failing)


def settle() -> None:
    """Exempt the objects that exist now from garbage collection, and collect the others less often.

    Call it once everything is built. It saves 15 to 30 % of the time of a hot loop.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


async def _until_stopped(main: Main, shutdown_timeout: float, reload: Reload) -> int:
    loop = asyncio.get_running_loop()
    stop, hangup = asyncio.Event(), asyncio.Event()
    work = started("main", main(stop))
    reloading = started("reload", _reload_on(hangup, reload))

    def on_signal(number: int) -> None:
        if stop.is_set():
            work.cancel()
            return
        logger.info("shutdown requested", extra={"signal": signal.Signals(number).name})
        stop.set()
        loop.call_later(shutdown_timeout, work.cancel)
        # It also applies while the loop waits for threads after `main` has ended.
        loop.call_later(shutdown_timeout + _CANCEL_TIMEOUT, _leave, shutdown_timeout)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    await asyncio.wait({work})
    await cancelled(reloading)
    # Without a signal, too: a thread that hangs must not keep a failed service from being restarted.
    loop.call_later(shutdown_timeout, _leave, shutdown_timeout)
    return _status(work, shutdown_timeout)


async def _reload_on(hangup: asyncio.Event, reload: Reload) -> None:
    while True:
        await hangup.wait()
        hangup.clear()
        await reload()


def _leave(shutdown_timeout: float) -> None:
    logger.critical("shutdown timeout; exiting without cleanup", extra={"after_s": shutdown_timeout})
    logging.shutdown()
    os._exit(FAILED)


def _status(work: asyncio.Task[None], shutdown_timeout: float) -> int:
    if work.cancelled():
        logger.error("shutdown timeout or second signal; cancelled", extra={"shutdown_timeout_s": shutdown_timeout})
        return FAILED
    error = work.exception()
    if isinstance(error, SettingsError):
        raise error
    if error is not None:
        logger.critical("failed", exc_info=error, extra={"error": str(error)})
        return FAILED
    return OK
