"""Where Java keeps what it learned from one start of Kafka, so that later ones take half the time (JEP 483 and 514)."""

import hashlib
import re
from pathlib import Path

_OLDEST_JAVA = 25
"""The first that writes a cache while a program ends, without a second run."""


def aot_cache(java: Path, jars: Path) -> Path | None:
    """Return the file for a Java and a folder of jars, which may not exist yet; None if this Java keeps nothing."""
    try:
        release = (java.resolve().parents[1] / "release").read_text()
    except OSError:
        return None
    version = re.search(r'^JAVA_VERSION="(\d+)', release, re.MULTILINE)
    if version is None or int(version[1]) < _OLDEST_JAVA:
        return None
    return jars / f"kafka-{hashlib.sha256(release.encode()).hexdigest()[:16]}.aot"


def java_options(java: Path, jars: Path) -> list[str]:
    """Return what makes Java use the cache, if there is one.

    Java checks that it is of this Java and of these jars, and starts without it otherwise.
    """
    cache = aot_cache(java, jars)
    return [f"-XX:AOTCache={cache}"] if cache is not None and cache.exists() and cache.stat().st_size else []
