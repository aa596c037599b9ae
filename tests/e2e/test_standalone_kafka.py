"""`make run-kafka`: three processes on a Kafka and a PostgreSQL of their own."""

import asyncio
import signal
from pathlib import Path

import psutil
import pytest

from tests.e2e.test_standalone import push, running


@pytest.mark.usefixtures("kafka_jars")
@pytest.mark.timeout(900)
async def test_it_shows_what_changes_and_leaves_no_process_behind(tmp_path: Path) -> None:
    async with running(tmp_path / "fünf, o'clock", module="services.standalone.three_processes") as program:
        for channel in ("sensors", "stock", r"orders\.\w+"):
            await program.line(rf"^{channel} ")
        await push(program.address, 1)
        await program.line(r'^greetings .*"number": 1')
        program.process.send_signal(signal.SIGHUP)
        assert "the system layer" in (await program.line(r"shared\.runtime\.reloading.*reloaded parts=(.*)"))[1]
        for layer in ("experience", "process", "system"):
            await _logged(tmp_path / "fünf, o'clock" / "kafka" / f"{layer}.log", "reloaded")
        children = psutil.Process(program.process.pid).children(recursive=True)
        program.process.send_signal(signal.SIGINT)
        assert await program.process.wait() == 0
        assert [child for child in children if child.is_running()] == []
    assert [path.name for path in tmp_path.iterdir()] == ["fünf, o'clock"]


async def _logged(log: Path, message: str) -> None:
    async with asyncio.timeout(60):
        while message not in log.read_text():
            await asyncio.sleep(0.02)
