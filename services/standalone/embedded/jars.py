"""Kafka's jars, resolved by Maven from a pom.xml and kept in a cache."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from importlib.resources.abc import Traversable
from pathlib import Path

from services.standalone.embedded.debian import need_command
from services.standalone.embedded.process import ServerMissing


def cache_folder() -> Path:
    """Return where jars are kept: below `XDG_CACHE_HOME`, else below the home's `.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trelay"


def resolved_jars(pom: Path | Traversable, cache: Path) -> Path:
    """Return the folder with the jars that a pom.xml names, and those they need.

    Resolved once for each content of the file: Maven is asked, and installed, only where the cache lacks them. Two
    processes at once take turns.

    Raises:
        ServerMissing: Maven cannot be had, or could not resolve them.
    """
    content = pom.read_bytes()
    folder = cache / f"jars-{hashlib.sha256(content).hexdigest()[:16]}"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "jars.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _resolve(content, folder)
    return folder


def _resolve(pom: bytes, folder: Path) -> None:
    maven = need_command("mvn", "maven")
    half_made = folder.with_name(folder.name + ".new")
    shutil.rmtree(half_made, ignore_errors=True)
    half_made.mkdir()
    (half_made / "pom.xml").write_bytes(pom)
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
        cwd=half_made,
    )
    if done.returncode != 0:
        # The first line says what is wrong, the others how to ask Maven for more.
        reason = done.stdout.strip().partition("\n")[0].removeprefix("[ERROR] ")
        raise ServerMissing(f"Maven could not resolve Kafka's jars: {reason}")
    half_made.replace(folder)
