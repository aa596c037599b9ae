"""Builds the JavaScript client."""

import subprocess
from functools import cache
from pathlib import Path
from shutil import which

from services.standalone.embedded.process import ServerMissing

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
    if not compiler.exists():
        done = _run(npm, "ci", "--no-audit", "--no-fund")
        if done.returncode != 0:
            raise ServerMissing(f"npm ci failed: {done.stderr.strip()[-300:]}")
    done = _run(node, str(compiler), "-p", "tsconfig.json")
    assert done.returncode == 0, done.stdout + done.stderr
    return FOLDER / "dist"


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=FOLDER, capture_output=True, text=True, timeout=_TIMEOUT, check=False, stdin=subprocess.DEVNULL
    )
