"""Installs Debian packages that tests and `make run-kafka` need, as root on Debian.

python -m tests.servers.debian mvn maven
"""

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from services.standalone.embedded.process import ServerMissing
from tests.servers.processes import downloading_again

_INSTALL = ("-o", "DPkg::Lock::Timeout=300", "-y", "-qq", "--no-install-recommends")


def need_command(command: str, package: str) -> str:
    """Return the path of a command; install its package if it is missing, as root on Debian.

    Raises:
        ServerMissing: it cannot be installed here, or the installation failed.
    """
    found = which(command)
    if found is None:
        install(package)
        found = which(command)
    if found is None:
        raise ServerMissing(f"{package} was installed and has no command {command!r}")
    return found


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Wait until no other process of these tests installs something: apt-get does not wait by itself."""
    with (Path(tempfile.gettempdir()) / f"trelay-apt-{os.geteuid()}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@downloading_again
def install(package: str) -> None:
    """Install a Debian package.

    Raises:
        ServerMissing: not root, not on Debian, or apt-get failed.
    """
    apt_get = which("apt-get")
    if apt_get is None or os.geteuid() != 0:
        raise ServerMissing(f"{package} is not installed (Debian, as root: apt-get install {package})")
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "DEBIAN_FRONTEND": "noninteractive",
        "RUNLEVEL": "1",  # so that the package of a server does not start it
        **{name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")},
    }
    with _one_at_a_time():
        for arguments in (["update", "-qq"], ["install", *_INSTALL, package]):
            done = subprocess.run(
                [apt_get, *arguments],
                capture_output=True,
                text=True,
                check=False,
                env=environment,
                stdin=subprocess.DEVNULL,
            )
            if done.returncode != 0:
                raise ServerMissing(f"apt-get {' '.join(arguments)} failed: {done.stderr.strip()[-500:]}")


if __name__ == "__main__":
    try:
        need_command(sys.argv[1], sys.argv[2])
    except ServerMissing as exc:
        sys.exit(str(exc))
