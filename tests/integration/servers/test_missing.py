import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

TESTS = """
import pytest
from services.standalone.embedded.process import ServerMissing
from tests.servers.missing import skipping_without

@pytest.fixture(scope="session")
def broker(request):
    with skipping_without("Broker", request.config):
        raise ServerMissing("no programs: apt-get install broker")

def test_first(broker): ...
def test_second(broker): ...
def test_without(): ...
"""


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
def test_the_last_lines_say_what_was_missing_and_ci_fails_for_it(tmp_path: Path, ci: str, status: int) -> None:
    (tmp_path / "test_broker.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.servers.missing", "-ra", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    said, totals = run.stdout.splitlines()[-2:]
    assert "1 passed, 2 skipped" in totals
    assert said.startswith("no Broker: no programs: apt-get install broker")
    assert run.returncode == status
    assert ("FAILED" in said) == bool(ci)
