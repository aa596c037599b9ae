"""Operators as images: built from their published Go modules, and brought into the nodes of the cluster."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from shutil import which

from tests.k8s.cluster.deploying import REGISTRY

OPERATORS = Path(__file__).parent
PODMAN = shlex.split(os.environ.get("TRELAY_K8S_PODMAN", "podman"))
LOAD = shlex.split(os.environ.get("TRELAY_K8S_LOAD", "kind load docker-image"))
"""Brings an image, whose name follows, into every node."""
BUILT_REGISTRY = f"{REGISTRY}-test"

MISSING = (
    "the tests with real operators build them: expected go 1.26, {podman}, and in TRELAY_K8S_LOAD a command that "
    "brings an image into the nodes, such as `kind load docker-image`; docs/operations/testing.md tells more"
)


def missing() -> str:
    """Return why operators cannot be built here, or nothing."""
    found = all(which(program) for program in ("go", PODMAN[0], LOAD[0]))
    return "" if found else MISSING.format(podman=PODMAN[0])


def module_folder(module: str) -> Path:
    """Return where the source of a module that an operator is built from lies, such as its manifests."""
    folder = OPERATORS / module
    return Path(_do("go", "list", "-f", "{{.Dir}}", "-m", _operator(folder), folder=folder).strip())


def _operator(folder: Path) -> str:
    """Return the module of an operator, below which the module in a folder is, so that it may use internal packages."""
    return (folder / "go.mod").read_text().split(maxsplit=2)[1].removesuffix("/trelay-test")


def program(module: str, package: str, tags: str = "") -> Path:
    """Build a program of an operator; another time, what Go keeps in its cache makes it quick.

    `tags` are build constraints, which choose parts of the program.
    """
    built = Path(tempfile.gettempdir()) / "trelay-test-operators" / module / package.rpartition("/")[2].strip(".")
    target = built / "program"
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath -buildvcs=false -mod=readonly"}
    command = ["nice", "go", "build", "-p", "1", f"-tags={tags}", "-ldflags=-s -w", "-o", str(target), package]
    _do(*command, folder=OPERATORS / module, environment=environment, timeout=3600)
    return built


def image(name: str, dockerfile: str, context: Path) -> str:
    """Build an image, bring it into every node, and return its name."""
    full = f"{BUILT_REGISTRY}/{name}"
    _do(*PODMAN, "build", "--network=host", "--quiet", f"--tag={full}", "--file=-", str(context), given=dockerfile)
    _do(*LOAD, full)
    return full


def _do(
    *command: str,
    folder: Path | None = None,
    environment: dict[str, str] | None = None,
    given: str | None = None,
    timeout: float = 900,
) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, input=given, capture_output=True, text=True, check=False, timeout=timeout
    )
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout
