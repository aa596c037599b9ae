"""`make run`: everything in one process, from an empty folder, through SIGKILL, and away in time."""

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest

from services.standalone.embedded.process import dying_with_us

READY = re.compile(r"Trelay is ready: ws://(127\.0\.0\.1:\d+)/ws/publish")


class Standalone:
    """The program and its output."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.address = ""

    async def line(self, pattern: str) -> re.Match[str]:
        """Return the next line that holds a pattern."""
        assert self.process.stdout is not None
        seen = []
        async with asyncio.timeout(240):
            while text := (await self.process.stdout.readline()).decode():
                seen.append(text)
                found = re.search(pattern, text)
                if found is not None:
                    return found
        raise AssertionError(f"no line like {pattern!r} before the end:\n{''.join(seen)}")


@asynccontextmanager
async def running(data: Path, *arguments: str, module: str = "services.standalone") -> AsyncIterator[Standalone]:
    command = [sys.executable, "-m", module, "--port", "0", *arguments]
    process = await asyncio.create_subprocess_exec(
        *dying_with_us(command, signal.SIGTERM),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TRELAY_DATA": str(data)},
    )
    program = Standalone(process)
    try:
        program.address = (await program.line(READY.pattern))[1]
        yield program
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def push(address: str, number: int) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"http://{address}/entity?channel=greetings"
        async with session.post(url, json={"number": number}) as answer:
            assert answer.status == 202, await answer.text()


@pytest.mark.timeout(900)
async def test_it_shows_what_changes_and_resumes_after_sigkill(tmp_path: Path) -> None:
    async with running(tmp_path) as program:
        for channel in ("sensors", "stock", r"orders\.\w+"):
            await program.line(rf"^{channel} ")
        await push(program.address, 1)
        await program.line(r'^greetings .*"number": 1')
    # That was a SIGKILL. The upstream changes while nothing reads it.
    with (tmp_path / "examples" / "sensors.ndjson").open("a") as feed:
        feed.write(json.dumps({"sensor": "while away", "celsius": 1, "at": "2026-01-01T00:00:00Z"}) + "\n")
    async with running(tmp_path) as program:
        await program.line("while away")
        await push(program.address, 2)
        # What was shown before the kill is not shown again.
        assert (await program.line(r'^greetings .*"number": (\d)'))[1] == "2"
        begun = time.monotonic()
        program.process.send_signal(signal.SIGINT)
        assert await program.process.wait() == 0  # 1 if it had to be cut off after 4.5 s
        assert time.monotonic() - begun < 60  # promised are 5; a busy machine takes its time to end a process


@pytest.mark.timeout(900)
async def test_a_reader_does_what_the_pages_say(tmp_path: Path) -> None:
    """One start for all of it: a start takes longer than the rest."""
    async with running(tmp_path) as program:
        await connects_as_the_demo_client(program.address)
        listens_on_the_loopback_alone(program)
        await adds_a_client(tmp_path)
        for _ in range(2):
            program.process.send_signal(signal.SIGHUP)
            await program.line(r"shared\.runtime\.reloading.*reloaded")
        await runs_the_program_of_the_page_for_subscribers(program)
        assert await program.process.wait() == 0


async def connects_as_the_demo_client(address: str) -> None:
    """Register it and connect: it is left for the reader."""
    async with aiohttp.ClientSession() as session:
        credentials = {"client_id": "demo", "client_secret": "demo"}
        async with session.post(f"http://{address}/consumers", headers=credentials) as answer:
            assert answer.status == 201
            token = (await answer.json())["token"]
        headers = {"Authorization": f"Bearer {token}"}
        async with session.ws_connect(f"http://{address}/ws/publish", headers=headers) as socket:
            assert (await socket.receive_json())["type"] == "trelay.connected"


def listens_on_the_loopback_alone(program: Standalone) -> None:
    here = psutil.Process(program.process.pid)
    for process in (here, *here.children(recursive=True)):
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip == "127.0.0.1", connection


async def adds_a_client(data: Path) -> None:
    """Add it by naming the data folder."""
    command = [sys.executable, "-m", "services.cli", "clients", "add", "billing", "--data", str(data)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert (process.returncode, out.splitlines()[0]) == (0, b"client_id: billing")


async def runs_the_program_of_the_page_for_subscribers(program: Standalone) -> None:
    """Run it until Trelay has ended."""
    page = (Path(__file__).parents[2] / "docs" / "subscribers.md").read_text()
    # Whole programs begin with their imports; the other blocks are parts.
    (program_of_the_page,) = re.findall(r"```python\n(import .*?)```", page, re.DOTALL)
    command = [sys.executable, "-c", program_of_the_page, f"http://{program.address}", "demo", "demo"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    subscriber = Standalone(process)
    await subscriber.line(r"^trelay\.connected None \S+ {'connection'")
    await push(program.address, 7)
    await subscriber.line(r"^entity\.pushed greetings \S+ {'number': 7}")
    program.process.send_signal(signal.SIGTERM)
    await subscriber.line(r"^ended: 4000")
    await process.wait()


async def registering(address: str, client_id: str, client_secret: str) -> int:
    url, headers = f"http://{address}/consumers", {"client_id": client_id, "client_secret": client_secret}
    async with aiohttp.ClientSession() as session, session.post(url, headers=headers) as answer:
        return answer.status


@pytest.mark.timeout(900)
async def test_demo_clients_exist_with_the_examples_alone(tmp_path: Path) -> None:
    settings, data = tmp_path / "mine.yaml", tmp_path / "var"
    settings.write_text("{}")
    async with running(data, "--config", str(settings)) as program:
        assert await registering(program.address, "demo", "demo") == 401
        program.process.send_signal(signal.SIGHUP)
        await program.line(r"shared\.runtime\.reloading.*reloaded")
        program.process.send_signal(signal.SIGTERM)
        assert await program.process.wait() == 0
    assert not (data / "demo-subscriber.secret").exists()
    # The same database with the examples, and then without them again.
    async with running(data) as program:
        assert await registering(program.address, "demo", "demo") == 201
    secret = (data / "demo-subscriber.secret").read_text()
    async with running(data, "--config", str(settings)) as program:
        assert await registering(program.address, "demo", "demo") == 401
        assert await registering(program.address, "demo-subscriber", secret) == 401
    async with running(data) as program:
        assert await registering(program.address, "demo", "demo") == 201


@pytest.mark.timeout(900)
async def test_the_log_is_as_the_settings_say(tmp_path: Path) -> None:
    settings = tmp_path / "mine.yaml"
    settings.write_text("logs: {format: json, level: info}")
    async with running(tmp_path / "var", "--config", str(settings)) as program:
        program.process.send_signal(signal.SIGHUP)
        reloaded = json.loads((await program.line('"message": "reloaded"')).string)
        assert reloaded["logger"] == "shared.runtime.reloading"
        program.process.send_signal(signal.SIGTERM)
        said = json.loads((await program.line("shutdown requested")).string)
        assert await program.process.wait() == 0
    assert (said["level"], said["logger"], said["message"]) == ("info", "shared.runtime.run", "shutdown requested")


@pytest.mark.timeout(900)
async def test_a_changed_settings_file_is_loaded_without_a_signal(tmp_path: Path) -> None:
    """As Kubernetes changes that of a ConfigMap: it replaces a symbolic link to a folder."""
    for version, level in (("..1", "info"), ("..2", "debug")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "mine.yaml").write_text(
            f"logs: {{format: json, level: {level}}}\nreload: {{interval: 0.1}}"
        )
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "mine.yaml").symlink_to("..data/mine.yaml")
    async with running(tmp_path / "var", "--config", str(tmp_path / "mine.yaml")) as program:
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        said = json.loads((await program.line('"message": "reloaded"')).string)
        assert (said["parts"], said["level"]) == (["logs"], "info")
        program.process.send_signal(signal.SIGTERM)
        assert await program.process.wait() == 0


async def test_a_fault_in_the_settings_is_one_line_before_anything_starts(tmp_path: Path) -> None:
    settings = tmp_path / "trelay.yaml"
    settings.write_text("system:\n  sources:\n    a: {kind: file, path: a.ndjson, type: t, subjct: id}\n")
    command = [sys.executable, "-m", "services.standalone", "--config", str(settings), "--data", str(tmp_path / "var")]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert b"did you mean 'subject'" in err
    assert b"Traceback" not in err
    assert not (tmp_path / "var" / "postgres").exists()


@pytest.mark.timeout(900)
async def test_its_database_is_started_again_when_it_ends(tmp_path: Path) -> None:
    async with running(tmp_path) as program:
        postmaster = int((tmp_path / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        await program.line("PostgreSQL has ended; restarting")
        with (tmp_path / "examples" / "sensors.ndjson").open("a") as feed:
            feed.write(json.dumps({"sensor": "afterwards", "celsius": 1, "at": "2026-01-01T00:00:00Z"}) + "\n")
        await program.line("afterwards")


SHELL = "exec {python} -m services.standalone --port 0 --data {data} {streams}"


@pytest.mark.timeout(900)
async def test_it_runs_without_standard_streams(tmp_path: Path) -> None:
    shell = SHELL.format(python=sys.executable, data=tmp_path, streams="<&- >&- 2>&-")
    # Nothing of this process's environment: variables of libpq could name another server.
    environment = {"PATH": os.environ["PATH"], "PGSSLMODE": "require", "PGHOST": "nowhere.invalid", "PGPORT": "1"}
    process = await asyncio.create_subprocess_exec("sh", "-c", shell, env=environment)
    try:
        async with asyncio.timeout(240):
            while not (tmp_path / "demo-subscriber.cursor").exists():  # written once it has shown an event
                assert process.returncode is None
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.timeout(900)
async def test_it_ends_without_an_error_when_its_output_is_closed(tmp_path: Path) -> None:
    shell = SHELL.format(python=sys.executable, data=tmp_path, streams="| head -n 1")
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", shell, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert READY.search(out.decode())
    assert err == b""
