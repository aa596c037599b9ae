import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.unit.clients.python.trelay_client.fake_server import FakeServer, connected, event, session

PROGRAM = (sys.executable, "-m", "services.cli", "subscribe", "--client-id", "demo", "--client-secret", "demo")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_is_an_orderly_end(number: signal.Signals, tmp_path: Path) -> None:
    async with FakeServer(session(connected(), event(1), stay=True)).up() as stage:
        arguments = (stage.url, "--cursor-file", str(tmp_path / "cursor"), "--quiet")
        program = await asyncio.create_subprocess_exec(*PROGRAM, *arguments, stdout=-1, stderr=-1)
        assert program.stdout is not None
        assert b'"id": "1"' in await program.stdout.readline()
        program.send_signal(number)
        _, errors = await program.communicate()
    assert (program.returncode, errors) == (0, b"")
    assert (tmp_path / "cursor").read_text() == "after-1\n"


async def test_a_reader_that_has_enough_is_no_error() -> None:
    async with FakeServer(session(*(event(number) for number in range(5000)), stay=True)).up() as stage:
        shell = await asyncio.create_subprocess_shell(
            f"{' '.join(PROGRAM)} {stage.url} --quiet | head -n 1; echo ${{PIPESTATUS[0]}}",
            executable="/bin/bash", stdout=-1, stderr=-1,
        )  # fmt: skip
        output, errors = await shell.communicate()
    assert output.splitlines()[1] == b"0"
    assert errors == b""


async def test_the_end_for_good_has_a_status() -> None:
    async with FakeServer(session(connected(), close=(4503, "consumer removed"))).up() as stage:
        program = await asyncio.create_subprocess_exec(*PROGRAM, stage.url, "--quiet", stdout=-1, stderr=-1)
        output, errors = await program.communicate()
    assert (program.returncode, output) == (1, b"")
    assert errors == b"trelay: connection closed by the server, not reconnecting: consumer removed (4503)\n"
