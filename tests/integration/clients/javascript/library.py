"""Builds the JavaScript client."""

import fcntl
import os
import subprocess
from functools import cache
from pathlib import Path
from shutil import which

from services.standalone.embedded.process import ServerMissing
from tests.servers.processes import downloading_again

FOLDER = Path(__file__).parents[4] / "clients" / "javascript"
_TIMEOUT = 300


@cache
def built() -> Path:
    """Build the library, and return the folder of its modules.

    Raises:
        ServerMissing: there is no Node, or its registry of packages does not answer.
    """
    npm, node = which("npm"), which("node")
    if npm is None or node is None:
        raise ServerMissing("Node is not installed: expected node 20 or newer, with npm")
    compiler = FOLDER / "node_modules" / "typescript" / "bin" / "tsc"
    with (FOLDER / "package.json").open() as lock:  # two processes of tests use the folder
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not compiler.exists():
            _install(npm)
        _compile(node, compiler)
    return FOLDER / "dist"


def _compile(node: str, compiler: Path) -> None:
    """Compile what has changed since the last time: another process may be importing the result."""
    stamp = FOLDER / "node_modules" / ".built"
    sources = [FOLDER / "tsconfig.json", *(FOLDER / "src").rglob("*.ts")]
    changed = max(path.stat().st_mtime_ns for path in sources)
    if stamp.exists() and stamp.stat().st_mtime_ns == changed and (FOLDER / "dist").exists():
        return
    done = _run(node, str(compiler), "-p", "tsconfig.json")
    assert done.returncode == 0, done.stdout + done.stderr
    stamp.touch()
    os.utime(stamp, ns=(changed, changed))


@downloading_again
def _install(npm: str) -> None:
    done = _run(npm, "ci", "--no-audit", "--no-fund")
    if done.returncode != 0:
        raise ServerMissing(f"npm ci failed: {done.stderr.strip()[-300:]}")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=FOLDER, capture_output=True, text=True, timeout=_TIMEOUT, check=False, stdin=subprocess.DEVNULL
    )
