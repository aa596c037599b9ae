"""Runs a program that refuses to run as root, when the current user is root."""

import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which

from services.standalone.embedded.process import ServerMissing

_ACCOUNT = "nobody"  # exists on every Linux, and owns no files


def as_ordinary_user(program: Path, folder: Path) -> list[str]:
    """Return the prefix of a command with which `program` does not run as root and can write to `folder`.

    It is empty if the current user is not root. Else it is the first of these that the machine allows:

    1. A user namespace: the program sees another account, while the kernel treats it as the owner of root's files. It
       needs no change of ownership, works below a home that only root may enter, and holds no capabilities. Containers
       often forbid it.
    2. The account itself, which then owns `folder`. It must be able to reach both paths.
    3. The same with the capability to enter closed folders.

    Raises:
        ServerMissing: none is possible; the text says what would help.
    """
    if os.geteuid() != 0:
        return []
    account = pwd.getpwnam(_ACCOUNT)
    for owner, prefix in _ways(account):
        # The kernel decides: whether both can be reached depends on more than their modes.
        if all(_runs([*prefix, "test", "-x", str(path)]) for path in (program, folder.parent)):
            if owner != 0:
                for path in (folder, *folder.rglob("*")):
                    os.chown(path, account.pw_uid, account.pw_gid)
            return prefix
    raise ServerMissing(
        f"{program.name} refuses to run as root, and the account {_ACCOUNT!r} cannot reach {program} and "
        f"{folder.parent}: work in a folder that it can enter, or not as root (needs unshare or setpriv)"
    )


def _ways(account: pwd.struct_passwd) -> Iterator[tuple[int, list[str]]]:
    """Yield the owner that the files must have, and the prefix of the command."""
    unshare, setpriv = which("unshare"), which("setpriv")
    if unshare is not None:
        yield 0, [unshare, "--user", f"--map-user={account.pw_uid}", f"--map-group={account.pw_gid}"]
    if setpriv is not None:
        switch = [setpriv, f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        yield account.pw_uid, switch
        # access(2), with which PostgreSQL finds its own files, ignores the capabilities of all users but root, unless
        # no_setuid_fixup is set (capabilities(7)).
        passing = [
            "--inh-caps=-all,+dac_override",
            "--ambient-caps=-all,+dac_override",
            "--securebits=+no_setuid_fixup",
        ]
        yield account.pw_uid, [*switch, *passing]


def _runs(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
