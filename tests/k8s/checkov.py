"""Checks the manifests with checkov, offline: `python -m tests.k8s.checkov`, which the Makefile installs.

It checks each overlay, `minimal` with all components, and the chart. `deploy/k8s/checkov.yaml` has what may stay.
"""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import yaml

from services.standalone.embedded.process import ServerMissing
from tests.k8s.helm import helm
from tests.k8s.rendering import (
    MANIFESTS,
    OVERLAYS,
    ROOT,
    Object,
    components,
    documents,
    of_kind,
    overlay,
    with_components,
)

_CHECKOV = Path(sys.prefix) / "checkov" / "bin" / "checkov"
_EXCEPTIONS = MANIFESTS / "checkov.yaml"
_TIMEOUT = 300

_MUTATED = "mutated.yaml"
"""Holds a privileged container, which checkov has to find: otherwise the check checks nothing."""
_PRIVILEGED = "CKV_K8S_16"


class Finding(NamedTuple):
    """One check that one object fails."""

    check: str
    name: str
    resource: str
    """`kind.namespace.name`."""
    file: str


Exceptions = Mapping[str, Mapping[str, Any]]
"""By check: `resources`, patterns of them, and `reason`."""


def faults(found: Iterable[Finding], exceptions: Exceptions) -> Iterator[str]:
    """Yield what no exception covers, exceptions that nothing needs, and those without a reason."""
    used: set[tuple[str, str]] = set()
    for finding in found:
        patterns = exceptions.get(finding.check, {}).get("resources", [])
        matching = {(finding.check, pattern) for pattern in patterns if fnmatchcase(finding.resource, pattern)}
        used |= matching
        if not matching:
            yield f"{finding.file}: {finding.resource}: {finding.check}: {finding.name}"
    for check, exception in exceptions.items():
        if not str(exception.get("reason") or "").strip():
            yield f"{check}: the exception has no reason"
        for pattern in exception.get("resources", []):
            if (check, pattern) not in used:
                yield f"{check}: nothing needs the exception of {pattern}"


def parsed(report: str) -> list[Finding]:
    """Return what a report of checkov, in JSON, says."""
    found = json.loads(report)
    return [
        Finding(each["check_id"], each["check_name"], each["resource"], each["file_path"].lstrip("/"))
        for part in (found if isinstance(found, list) else [found])
        for each in part["results"]["failed_checks"]
    ]


def _write(folder: Path) -> None:
    """Write the manifests that are checked, one file each."""
    manifests = {name: overlay(name) for name in OVERLAYS}
    with TemporaryDirectory() as scratch:
        every = with_components("overlays/minimal", components(), Path(scratch), namespace="trelay")
    manifests["components"] = every
    manifests[_MUTATED.removesuffix(".yaml")] = [_privileged(overlay("minimal"))]
    try:
        manifests["chart"] = _chart()
    except ServerMissing as exc:
        print(f"checkov: the chart is not checked: {exc}", file=sys.stderr)
        if os.environ.get("CI") == "true":
            raise
    for name, objects in manifests.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))


def _chart() -> list[Object]:
    chart = ROOT / "deploy" / "helm" / "trelay"
    done = subprocess.run(
        [helm(), "template", "trelay", chart], capture_output=True, text=True, check=True, timeout=_TIMEOUT
    )
    found = documents(done.stdout)
    for each in found:  # `helm install --namespace` does so
        each["metadata"].setdefault("namespace", "trelay")
    return found


def _privileged(objects: list[Object]) -> Object:
    found = copy.deepcopy(of_kind(objects, "Deployment")["process-api"])
    found["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privileged"] = True
    return found


def _findings(folder: Path) -> list[Finding]:
    # --skip-download: nothing is asked of the vendor's service.
    command: list[str | Path] = [_CHECKOV, "--directory", folder, "--framework", "kubernetes", "--output", "json"]
    command += ["--skip-download", "--compact", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    try:
        return parsed(done.stdout)
    except (ValueError, KeyError) as exc:
        raise SystemExit(f"checkov: no report ({exc!r}):\n{done.stdout[-2000:]}{done.stderr[-2000:]}") from exc


def main() -> int:
    """Print what is wrong, and return the exit status."""
    if not _CHECKOV.exists():
        raise SystemExit(f"checkov: {_CHECKOV} not found; expected it there: make .venv/checkov/installed")
    with TemporaryDirectory() as scratch:
        _write(Path(scratch))
        found = _findings(Path(scratch))
    mutated = [finding for finding in found if finding.file == _MUTATED]
    wrong = [*faults((finding for finding in found if finding not in mutated), yaml.safe_load(_EXCEPTIONS.read_text()))]
    if _PRIVILEGED not in {finding.check for finding in mutated}:
        wrong.append(f"checkov does not find a privileged container ({_PRIVILEGED}), so its report means nothing")
    for each in wrong:
        print(f"checkov: {each}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
