"""The small C programs beside which things are measured, compiled when they are needed."""

import shutil
import subprocess
from pathlib import Path


def compiled(name: str, folder: Path) -> Path:
    """Compile `benchmarks/<name>.c` into a folder.

    Raises:
        FileNotFoundError: there is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise FileNotFoundError("no C compiler: install one (apt-get install gcc) to have the bare limit measured")
    source = Path(__file__).with_name(f"{name}.c")
    target = folder / name
    subprocess.run([compiler, "-O2", "-o", str(target), str(source)], check=True)
    return target
