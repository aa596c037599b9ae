"""Whether a file is open for writing elsewhere."""

import os
import sys
from pathlib import Path

import pytest

from services.system_api.sources.file import writers
from services.system_api.sources.file.filesystem import close
from services.system_api.sources.file.writers import has_writer


@pytest.mark.skipif(sys.platform != "linux", reason="F_SETLEASE is of Linux")
def test_a_writer_is_seen_while_it_has_the_file_open(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    for _ in range(3):
        assert has_writer(descriptor) is False
        with path.open("a") as writer:
            assert has_writer(descriptor) is True
            path.open().close()
            assert has_writer(descriptor) is True
            writer.write("x")
    path.unlink()
    assert has_writer(descriptor) is False
    close(descriptor)


def test_what_cannot_be_told_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    assert has_writer(read) is None
    os.close(read)
    os.close(write)
    assert has_writer(read) is None
    monkeypatch.setattr(writers, "_LEASE", None)
    assert has_writer(0) is None
