"""Failpoints: where a process dies, and that nothing happens where none is set."""

import os
import signal
import subprocess
import sys

import pytest

from shared.runtime.failpoints import VARIABLE, parse

SCRIPT = "from shared.runtime.failpoints import reach\nfor n in range(5):\n    reach('b')\n    print(n)\n    reach('a')"


@pytest.mark.parametrize(
    ("armed", "lines", "code"),
    [("a", 1, -signal.SIGKILL), ("a:3", 3, -signal.SIGKILL), ("b", 0, -signal.SIGKILL), ("c", 5, 0), ("", 5, 0)],
)
def test_the_process_is_killed_at_the_named_place(armed: str, lines: int, code: int) -> None:
    environment = {**os.environ, VARIABLE: armed, "PYTHONUNBUFFERED": "1"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, check=False)
    assert (len(done.stdout.split()), done.returncode) == (lines, code)


def test_a_failpoint_counts_only_its_own_name() -> None:
    point = parse("a:2")
    assert point is not None
    assert [point.reached(name) for name in ("a", "b", "a")] == [False, False, True]
