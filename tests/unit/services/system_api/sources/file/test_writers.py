"""Whether a file is open for writing elsewhere."""

import os
import sys
from pathlib import Path

import pytest

from services.system_api.sources.file import writers
from services.system_api.sources.file.filesystem import close
from services.system_api.sources.file.writers import has_writer, is_local, is_local_mount


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


MOUNTS = """22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:40 / /data rw shared:5 - nfs4 server:/x rw
24 23 0:41 / /data/my\\040disk rw - xfs /dev/vdb rw
25 22 0:42 / /mnt rw - fuse.sshfs host:/ rw
26 22 0:43 / /mnt rw - tmpfs tmpfs rw
27 22 0:44 / /win rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("path", "local"),
    [
        ("/var/log", True),
        ("/data", False),
        ("/data/in", False),
        ("/database", True),
        ("/data/my disk/in", True),
        ("/mnt/a", True),
        ("/win/a", False),
    ],
)
def test_a_file_system_that_other_machines_write_to_is_not_local(path: str, local: bool) -> None:
    assert is_local_mount(MOUNTS, path) is local
    assert not is_local_mount("", path)


def test_the_mounts_are_those_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_local(str(tmp_path))

    def refuse(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refuse)
    assert not is_local(str(tmp_path))
