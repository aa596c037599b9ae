"""Installing what a server needs from Debian's packages, where that is ours to do."""

import os
import subprocess
from shutil import which

from services.standalone.embedded.process import ServerMissing


def need_command(command: str, package: str) -> str:
    """Return the path of a command, after installing its package if we are root on Debian and it is missing.

    Raises:
        ServerMissing: it is not there and we may not install it, or the installation failed.
    """
    found = which(command)
    if found is None:
        install(package)
        found = which(command)
    if found is None:
        raise ServerMissing(f"{package} was installed and has no command {command!r}")
    return found


def install(package: str) -> None:
    """Install one package of Debian's.

    Raises:
        ServerMissing: we are not root, not on Debian, or apt-get failed.
    """
    apt_get = which("apt-get")
    if apt_get is None or os.geteuid() != 0:
        raise ServerMissing(f"{package} is not installed (Debian, as root: apt-get install {package})")
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "DEBIAN_FRONTEND": "noninteractive",
        "RUNLEVEL": "1",  # so that the package of a server does not start one of its own
        **{name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")},
    }
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", package]):
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
