import secrets
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from services.standalone.embedded.process import (
    ServerFailed,
    ServerProcess,
    dying_with_us,
    free_port,
    port_is_free,
    wait_until,
)
from tests.servers.processes import ended

LONGER_THAN_ANY_TEST = ["sleep", "600"]
DEAF = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]


@pytest.fixture
def process(tmp_path: Path) -> ServerProcess:
    return ServerProcess("sleeper", tmp_path / "log")


def at_once(_: int) -> bool:
    return True


def test_it_has_a_session_of_its_own_that_ctrl_c_does_not_reach(process: ServerProcess) -> None:
    process.start(LONGER_THAN_ANY_TEST, ready=at_once, timeout=60)
    try:
        assert Path(f"/proc/{process.pid}/stat").read_text().split()[5] == str(process.pid)
        with pytest.raises(ServerFailed, match="is already running"):
            process.start(LONGER_THAN_ANY_TEST, ready=at_once, timeout=60)
    finally:
        process.kill()
    assert not process.running


def test_one_that_ends_early_shows_its_log(process: ServerProcess) -> None:
    with pytest.raises(ServerFailed, match=r"(?s)sleeper ended with status 3.*out of paper"):
        process.start(["sh", "-c", "echo out of paper; exit 3"], ready=lambda _: False, timeout=60)


def test_one_that_is_never_ready_is_killed(process: ServerProcess) -> None:
    pids: list[int] = []

    def never(pid: int) -> bool:
        pids.append(pid)
        return False

    with pytest.raises(ServerFailed, match=r"not ready after 0\.1 s"):
        process.start(LONGER_THAN_ANY_TEST, ready=never, timeout=0.1)
    assert ended(pids[0])


def test_a_kill_reaches_what_it_has_started(process: ServerProcess) -> None:
    started = ["sh", "-c", "sleep 600 & echo $!; wait"]
    process.start(started, ready=lambda _: process.output().endswith(b"\n"), timeout=60)
    child = int(process.output())
    process.kill()
    assert ended(child)


def test_stop_goes_from_asking_to_killing(process: ServerProcess) -> None:
    process.start(DEAF, ready=at_once, timeout=60)
    pid = process.pid
    process.stop((signal.SIGTERM, 0.1))
    assert ended(pid)
    with pytest.raises(ServerFailed, match="not running"):
        assert process.pid


def test_stop_reaches_one_that_is_paused(process: ServerProcess) -> None:
    process.start(LONGER_THAN_ANY_TEST, ready=at_once, timeout=60)
    pid = process.pid
    process.pause()
    assert wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, 60)
    process.stop((signal.SIGTERM, 5))
    assert ended(pid)


def test_a_child_outlives_the_thread_that_asked_for_it(process: ServerProcess) -> None:
    command = dying_with_us(LONGER_THAN_ANY_TEST, signal.SIGKILL)
    thread = threading.Thread(target=lambda: process.start(command, ready=at_once, timeout=60))
    thread.start()
    thread.join()
    assert not ended(process.pid, timeout=0.2)
    process.kill()


def test_a_long_log_is_rotated(process: ServerProcess) -> None:
    with process.log.open("wb") as log:
        log.truncate(32 * 1024 * 1024)
    process.start(LONGER_THAN_ANY_TEST, ready=at_once, timeout=60)
    process.kill()
    assert process.log.stat().st_size == 0
    assert process.log.with_name("log.previous").exists()


@pytest.mark.parametrize("before", [0, 100, 32 * 1024 * 1024])
def test_its_output_is_that_since_its_start(process: ServerProcess, before: int) -> None:
    with process.log.open("wb") as log:
        log.truncate(before)
    for word in ("first", "second"):
        command = ["sh", "-c", f"echo {word}; sleep 600"]
        process.start(command, ready=lambda _: b"\n" in process.output(), timeout=60)
        process.kill()
        assert process.output() == f"{word}\n".encode()


def test_free_ports_are_not_those_of_outgoing_connections() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = [free_port() for _ in range(50)]
    assert all(1024 < port < min(lowest, 32_768) for port in ports)
    assert all(port_is_free(port) for port in ports)


def test_a_port_that_another_process_was_given_is_not_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given = "from services.standalone.embedded.process import free_port\nprint(free_port(), flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", given], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        taken = int(other.stdout.readline())
        own = free_port()
        chosen = iter([taken - 12_000, own - 12_000])
        randbelow = secrets.randbelow
        monkeypatch.setattr("secrets.randbelow", lambda limit: next(chosen, None) or randbelow(limit))
        assert port_is_free(taken)
        assert free_port() not in {taken, own}
        assert next(chosen, None) is None
        other.stdin.close()
