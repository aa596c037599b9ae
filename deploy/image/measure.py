"""Prints what an image holds and how fast it starts: `python - NAME BYTES` inside it, with this file as the input.

A service is started with an empty settings file, and has started when it answers `/healthz`. To be ready, it needs its
database and its bus as well, which are not here.
"""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

_PORTS = {"system-api": 8081, "process-api": 8082, "experience-api": 8080}
_TIMEOUT = 60.0
_RUNS = 3


def _start(module: str, port: int) -> float:
    """Return the seconds from the start of a service to its first answer."""
    begun = time.monotonic()
    command = [sys.executable, "-m", module, "--config", "/dev/null"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.monotonic() - begun < _TIMEOUT:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1) as answer:
                    answer.read()
                return time.monotonic() - begun
            except OSError:
                if process.poll() is not None:
                    sys.exit(f"{module} ended with {process.returncode} before it answered")
                time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    sys.exit(f"{module} did not answer within {_TIMEOUT:.0f} s")


def _command() -> float:
    begun = time.monotonic()
    subprocess.run(["/opt/trelay/bin/trelay", "--version"], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - begun


def main() -> None:
    """Print one line."""
    name, size = sys.argv[1], int(sys.argv[2])
    target = name.rpartition("/")[2].partition(":")[0]
    packages = len(json.loads(Path("/opt/trelay/sbom.cdx.json").read_text())["components"])
    if target in _PORTS:
        module = f"services.{target.replace('-', '_')}"
        seconds = min(_start(module, _PORTS[target]) for _ in range(_RUNS))
        started = f"answers after {seconds:.1f} s"
    else:
        started = f"runs --version in {min(_command() for _ in range(_RUNS)):.1f} s"
    print(f"{name}: {size / 1e6:.0f} MB, {packages} packages, {started}")


if __name__ == "__main__":
    main()
