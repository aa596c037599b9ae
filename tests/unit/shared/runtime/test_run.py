import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from shared.errors import SettingsError
from shared.runtime.logs import LogOptions
from shared.runtime.reloading import ReloadOptions, SettingsFile
from shared.runtime.run import BAD_SETTINGS, FAILED, OK, Build, Running, run, run_service, settle
from shared.settings import Options


def signalled(number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def test_work_that_returns_exits_with_0() -> None:
    async def main(_stop: asyncio.Event) -> None:
        await asyncio.sleep(0)

    assert run(main) == OK


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_requests_a_clean_shutdown(number: signal.Signals) -> None:
    closed: list[str] = []

    async def main(stop: asyncio.Event) -> None:
        signalled(number)
        await stop.wait()
        closed.append("everything")

    assert run(main) == OK
    assert closed == ["everything"]


def test_work_that_does_not_stop_within_the_deadline_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    closed: list[str] = []

    async def main(stop: asyncio.Event) -> None:
        signalled()
        await stop.wait()
        try:
            await asyncio.Event().wait()
        finally:
            closed.append("everything")

    assert run(main, shutdown_timeout=0.01) == FAILED
    assert closed == ["everything"]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == "shutdown timeout or second signal; cancelled"
    assert vars(record)["shutdown_timeout_s"] == 0.01


def test_a_second_signal_does_not_wait_for_the_deadline() -> None:
    async def main(stop: asyncio.Event) -> None:
        signalled()
        await stop.wait()
        signalled()
        await asyncio.Event().wait()

    assert run(main, shutdown_timeout=1000) == FAILED


def test_a_process_that_cannot_be_cancelled_exits_all_the_same() -> None:
    program = (
        "import asyncio, os, signal, sys, shared.runtime.run as runtime\n"
        "async def main(stop):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    while True:\n"
        "        try: await asyncio.Event().wait()\n"
        "        except asyncio.CancelledError: pass\n"
        "runtime._CANCEL_TIMEOUT = 0.01\n"
        "sys.exit(runtime.run(main, shutdown_timeout=0.01))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == FAILED
    assert "shutdown timeout; exiting without cleanup" in ended.stderr


def test_a_thread_that_hangs_does_not_keep_a_failed_process_alive() -> None:
    program = (
        "import asyncio, sys, threading, shared.runtime.run as runtime\n"
        "async def main(stop):\n"
        "    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)\n"
        "    raise RuntimeError('broken')\n"
        "sys.exit(runtime.run(main, shutdown_timeout=0.01))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == FAILED
    assert "broken" in ended.stderr
    assert "shutdown timeout; exiting without cleanup" in ended.stderr


def test_a_failure_is_logged_and_sets_the_exit_status(caplog: pytest.LogCaptureFixture) -> None:
    async def main(_stop: asyncio.Event) -> None:
        raise RuntimeError("broken")

    assert run(main) == FAILED
    (record,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert (record.getMessage(), vars(record)["error"]) == ("failed", "broken")
    assert record.exc_info is not None


def test_wrong_settings_are_reported_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    async def main(_stop: asyncio.Event) -> None:
        raise SettingsError("cannot listen on 127.0.0.1 port 80: permission denied")

    assert run(main) == BAD_SETTINGS
    assert capsys.readouterr().err == "cannot listen on 127.0.0.1 port 80: permission denied\n"


class Settings(Options):
    logs: LogOptions = LogOptions()
    system: str = "nothing"
    node: str = "replica-1"
    reload: ReloadOptions = ReloadOptions()


class Ends:
    sections = ()

    def __init__(self, error: BaseException | None) -> None:
        self._error = error

    async def failed(self) -> BaseException:
        if self._error is None:
            signalled()
            await asyncio.Event().wait()
        assert self._error is not None
        return self._error

    async def reload(self) -> list[str]:
        return ["everything"]

    def show_settings(self, file: SettingsFile[Any]) -> None:
        assert file.problem is None


@pytest.fixture
def _settled_and_undone() -> Iterator[None]:
    thresholds = gc.get_threshold()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    gc.unfreeze()  # what the collection of the tests has exempted
    yield
    gc.freeze()
    gc.set_threshold(*thresholds)
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)


def build(opened: list[str], error: BaseException | None = None) -> Build[Settings]:
    @asynccontextmanager
    async def running(settings: Settings, *, node: str) -> AsyncIterator[Running]:
        opened.append(f"{settings.system} {node}")
        try:
            yield Ends(error)
        finally:
            opened.append("closed")

    return running


@pytest.mark.usefixtures("_settled_and_undone")
def test_a_service_runs_until_a_signal_stops_it(tmp_path: Path) -> None:
    opened: list[str] = []
    file = tmp_path / "trelay.yaml"
    file.write_text("system: here")
    assert run_service("system", Settings, build(opened), ["--config", str(file)]) == OK
    assert opened == ["here replica-1", "closed"]


@pytest.mark.usefixtures("_settled_and_undone")
def test_a_service_that_fails_closes_what_it_opened(tmp_path: Path) -> None:
    opened: list[str] = []
    file = tmp_path / "trelay.yaml"
    file.write_text("")
    assert run_service("system", Settings, build(opened, RuntimeError("broken")), ["--config", str(file)]) == FAILED
    assert opened == ["nothing replica-1", "closed"]


@pytest.mark.usefixtures("_settled_and_undone")
def test_the_settings_file_may_stand_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    for name in ("one", "other"):
        (tmp_path / name).write_text(f"system: {name}")
    monkeypatch.setenv("TRELAY_CONFIG", str(tmp_path / "one"))
    assert run_service("system", Settings, build(opened), []) == OK
    assert run_service("system", Settings, build(opened), ["--config", str(tmp_path / "other")]) == OK
    assert opened == ["one replica-1", "closed", "other replica-1", "closed"]


def test_without_a_settings_file_the_error_lists_the_ways_to_name_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TRELAY_CONFIG", raising=False)
    with pytest.raises(SystemExit) as ended:
        run_service("system", Settings, build([]), [])
    assert ended.value.code == BAD_SETTINGS
    assert "--config FILE or TRELAY_CONFIG" in capsys.readouterr().err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_service("system", Settings, build([]), ["--version"])
    assert ended.value.code == OK
    assert capsys.readouterr().out == f"trelay {version('trelay')}\n"


def test_a_service_with_wrong_settings_does_not_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened: list[str] = []
    file = tmp_path / "trelay.yaml"
    file.write_text("sytem: here")
    assert run_service("system", Settings, build(opened), ["--config", str(file)]) == BAD_SETTINGS
    assert opened == []
    error = capsys.readouterr().err
    assert error == f"{file}:1:1: sytem: unknown key 'sytem'; did you mean 'system'?\n"


@pytest.mark.usefixtures("_settled_and_undone")
def test_long_lived_objects_are_exempt_from_garbage_collection() -> None:
    settle()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == (100_000, 50, 100)


def test_the_limit_of_descriptors_is_raised_to_what_the_system_allows() -> None:
    program = """
import resource
from shared.runtime.run import run
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512))
async def main(stop):
    print(resource.getrlimit(resource.RLIMIT_NOFILE))
run(main)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(512, 512)"
