"""The first programs of the READMEs of the client libraries receive events from a real server."""

import asyncio
import os
import re
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from services.experience_api.auth.clients import add_client
from tests.integration.clients.javascript.library import FOLDER
from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment, Replica

pytestmark = pytest.mark.timeout(900)  # the first one installs and builds what it needs

ADDRESS, PYTHON_SECRET = "https://relay.example.com", "trs_…"
PYTHON = FOLDER.parent / "python"


def programs(folder: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (folder / "README.md").read_text(), re.DOTALL | re.MULTILINE)


def with_values(program: str, values: dict[str, str]) -> str:
    for placeholder, value in values.items():
        assert program.count(placeholder) == 1, placeholder
        program = program.replace(placeholder, value)
    return program


async def receives(replica: Replica, folder: Path, command: list[str], secret: str) -> None:
    """Check that a program prints events of a channel that it has named, and of no other."""
    environment = {**os.environ, "TRELAY_SECRET": secret, "PYTHONPATH": str(PYTHON)}
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, env=environment, stdout=PIPE)
    assert process.stdout is not None
    first = asyncio.create_task(line_with(b"number", process.stdout))
    try:
        async with asyncio.timeout(TIMEOUT):
            while not first.done():  # a subscription begins with what comes after its connection
                await replica.push("other", 1)
                await replica.push("orders.new", 2)
                await asyncio.wait({first}, timeout=0.1)
            line = await first
    finally:
        first.cancel()
        if process.returncode is None:
            process.kill()
        await process.wait()
    assert re.search(rb"orders\.new \{\W*number\W+2 ?\}", line), line


async def line_with(text: bytes, output: asyncio.StreamReader) -> bytes:
    while text not in (line := await output.readline()):
        assert line, "the program has ended"
    return line


async def test_the_one_of_javascript(deployment: Deployment, library: Path, tmp_path: Path) -> None:
    async with deployment.replica() as replica:
        secret = await add_client(replica.registry, "billing")
        first, *_ = programs(FOLDER, "js")
        values = {ADDRESS: replica.url, '"trelay-client"': f'"{library}/index.js"'}
        (tmp_path / "first.mjs").write_text(with_values(first, values))
        await receives(replica, tmp_path, ["node", "first.mjs"], secret)


async def test_the_one_of_python(deployment: Deployment, tmp_path: Path) -> None:
    async with deployment.replica() as replica:
        secret = await add_client(replica.registry, "billing")
        first, *_ = programs(PYTHON, "python")
        (tmp_path / "first.py").write_text(with_values(first, {ADDRESS: replica.url, PYTHON_SECRET: secret}))
        await receives(replica, tmp_path, [sys.executable, "-u", "first.py"], secret)


@pytest.mark.parametrize("number", range(3))
def test_those_of_javascript_import_what_they_use(number: int) -> None:
    program = programs(FOLDER, "js")[number]
    exports = re.findall(r"^export .*$", (FOLDER / "src" / "index.ts").read_text(), re.MULTILINE)
    exported = set(re.findall(r"\w+", " ".join(exports)))
    imported = set(re.findall(r"\w+", re.findall(r"import \{(.*?)\}", program)[0]))
    used = set(re.findall(r"(?<![.\w])\w+(?=\()", program)) & exported
    assert used <= imported
    assert imported <= exported
