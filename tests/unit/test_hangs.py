"""A test that hangs is named as failed, and those behind it run, wherever it hangs."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PLUGIN = ["-p", "tests.hangs", "-o", "hang_grace=1", "-p", "no:asyncio", "--timeout=1", "-n", "1"]
ROOT = Path(__file__).parents[2]

HANGS = {
    # pytest-timeout lifts its limit when the test has failed.
    "the teardown of a failed test": """
        @pytest.fixture
        def held():
            yield
            time.sleep(3600)

        def test_hangs(held):
            assert False
    """,
    "a test that catches every error": """
        def test_hangs():
            while True:
                try:
                    time.sleep(3600)
                except BaseException:
                    pass
    """,
    "code that is not Python": """
        def test_hangs():
            sum(itertools.repeat(1))
    """,
}


@pytest.mark.parametrize("test", HANGS.values(), ids=HANGS)
def test_a_test_that_hangs_is_named_and_the_next_one_runs(test: str, tmp_path: Path) -> None:
    module = tmp_path / "test_module.py"
    head, tail = "import itertools\nimport time\nimport pytest\n", "\n\ndef test_next():\n    pass\n"
    module.write_text(head + textwrap.dedent(test) + tail, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", *PLUGIN, f"--rootdir={tmp_path}", str(module)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "crashed while running 'test_module.py::test_hangs'" in ended.stdout, ended.stdout + ended.stderr
    assert "1 passed" in ended.stdout
    assert "test_module.py" in ended.stderr, "the stack names the line"
