"""The jars of Kafka, resolved by Maven from a pom.xml and kept in a cache."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from importlib.resources.abc import Traversable
from pathlib import Path

from services.standalone.embedded.process import ServerMissing


def cache_folder() -> Path:
    """Return the folder for jars: below `XDG_CACHE_HOME`, else below the home's `.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trelay"


def find_maven() -> str:
    """Return the path of Maven.

    Raises:
        ServerMissing: it is not installed.
    """
    found = shutil.which("mvn")
    if found is None:
        raise ServerMissing("Maven, which fetches Kafka, is not on this machine; install it: apt-get install maven")
    return found


def resolved_jars(pom: Path | Traversable, cache: Path, find_maven: Callable[[], str] = find_maven) -> Path:
    """Return the folder with the jars that a pom.xml names, and their dependencies.

    Maven runs once for each content of the file, where the cache lacks it. Processes at the same time take turns.

    Raises:
        ServerMissing: Maven is not available, or could not resolve the jars.
    """
    content = pom.read_bytes()
    folder = cache / f"jars-{hashlib.sha256(content).hexdigest()[:16]}"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "jars.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _resolve(content, folder, find_maven())
    return folder


def _resolve(pom: bytes, folder: Path, maven: str) -> None:
    incomplete = folder.with_name(folder.name + ".new")
    shutil.rmtree(incomplete, ignore_errors=True)
    incomplete.mkdir()
    (incomplete / "pom.xml").write_bytes(pom)
    done = subprocess.run(
        [
            maven,
            "--quiet",
            "--batch-mode",
            "-Dstyle.color=never",
            "dependency:copy-dependencies",
            "-DoutputDirectory=.",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        cwd=incomplete,
    )
    if done.returncode != 0:
        # The first line says what is wrong, the others how to get more output.
        reason = done.stdout.strip().partition("\n")[0].removeprefix("[ERROR] ")
        raise ServerMissing(f"Maven could not resolve Kafka's jars: {reason}")
    incomplete.replace(folder)
