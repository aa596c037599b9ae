"""Programs that are built from Go modules: once, into the cache folder of the user."""

import fcntl
import os
import subprocess
import tempfile
from pathlib import Path
from shutil import which

from services.standalone.embedded.jars import cache_folder
from services.standalone.embedded.process import ServerMissing
from tests.servers.processes import downloading_again

_BUILD = 1800.0
"""Seconds to fetch the modules and compile them, which takes some minutes of CPU."""


def go_program(name: str, version: str, package: str, *, folder: Path | None = None) -> Path:
    """Return the path of a program; build it if the cache lacks it. Processes at the same time take turns.

    `package` is what `go install` takes: a module with its version, or `.` for the module in `folder`.

    Raises:
        ServerMissing: Go is not installed, or the build failed.
    """
    program = cache_folder() / f"{name}-{version}"
    if program.exists():
        return program
    go = which("go")
    if go is None:
        raise ServerMissing(f"Go, which builds {name}, is not on this machine (https://go.dev/dl/)")
    program.parent.mkdir(parents=True, exist_ok=True)
    with (program.parent / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(go, program, package, folder)
    return program


@downloading_again
def _build(go: str, program: Path, package: str, folder: Path | None) -> None:
    flags = "-buildvcs=false" if folder is None else "-mod=readonly -buildvcs=false"
    with tempfile.TemporaryDirectory(dir=program.parent) as built:
        # Without debug information it links faster.
        command = [go, "install", "-trimpath", "-ldflags=-s -w", package]
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": flags, "GOBIN": built}
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=_BUILD
            )
        except subprocess.TimeoutExpired as exc:
            raise ServerMissing(f"{program.name} was not built within {_BUILD:g} s") from exc
        if done.returncode != 0:
            raise ServerMissing(f"go install failed: {done.stderr.strip()[-500:]}")
        (found,) = Path(built).iterdir()
        found.rename(program)
