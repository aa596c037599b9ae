"""Freed memory is kept: pages that were mapped once are not mapped again."""

import subprocess
import sys

import pytest

BLOCKS = """
import resource, sys
from shared.runtime.allocation import keep_freed_memory
if "keep" in sys.argv:
    assert keep_freed_memory()

def batch():
    [bytearray(b"x") * 500_000 for _ in range(8)]

batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str) -> int:
    ended = subprocess.run([sys.executable, "-c", BLOCKS, *arguments], capture_output=True, text=True, check=True)
    return int(ended.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_large_blocks_are_mapped_once() -> None:
    kept, usual = faults("keep"), faults()
    assert kept < 1000 < usual, (kept, usual)
