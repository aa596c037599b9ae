"""Running a program that refuses to run as root, as root."""

import os
import pwd
import subprocess
from pathlib import Path
from shutil import which

from services.embedded.process import ServerMissing

_ACCOUNT = "nobody"  # there on every Linux, and it owns nothing


def as_ordinary_user(program: Path, folder: Path) -> list[str]:
    """Return what to put before a command so that `program` is not run as root and may still write `folder`.

    Nothing where we are not root. Else a user namespace, in which the program sees itself as another account while the
    kernel still takes it for the owner of our files: it needs no change of ownership, works below a home that only
    root may enter, and holds no capabilities. Where namespaces are forbidden (containers, often), the account itself,
    which then owns `folder` and must be able to reach both.

    Raises:
        ServerMissing: neither is possible; the text says what would help.
    """
    if os.geteuid() != 0:
        return []
    account = pwd.getpwnam(_ACCOUNT)
    unshare, setpriv = which("unshare"), which("setpriv")
    if unshare is not None:
        namespace = [unshare, "--user", f"--map-user={account.pw_uid}", f"--map-group={account.pw_gid}"]
        if _runs([*namespace, "true"]):
            return namespace
    if setpriv is None:
        raise ServerMissing("starting a server as root needs unshare or setpriv (Debian: apt-get install util-linux)")
    switch = [setpriv, f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    for path in (program, folder.parent):
        if not _runs([*switch, "test", "-x", str(path)]):
            raise ServerMissing(
                f"the account {_ACCOUNT!r}, which runs servers where we are root, cannot reach {path}: "
                "work in a folder that it can enter, or not as root"
            )
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid)
    return switch


def _runs(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
