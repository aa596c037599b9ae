"""When files were created."""

import os
import sys
from pathlib import Path

import pytest

from services.system_api.sources.file import births
from services.system_api.sources.file.births import birth_of


def test_it_stays_when_a_file_is_changed_and_renamed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with path.open("w") as file:
        before = birth_of(file.fileno())
        if before is None:
            pytest.skip("the file system does not tell")
        assert abs(before / 1e9 - path.stat().st_ctime) < 1
        file.write("x")
        file.flush()
        os.utime(path, (1, 1))
        path.rename(tmp_path / "b")
        assert birth_of(file.fileno()) == before
    assert birth_of(file.fileno() if not file.closed else 1_000_000) is None


@pytest.mark.parametrize("mask", [0, 0x7FF])
def test_a_file_system_may_not_tell(monkeypatch: pytest.MonkeyPatch, mask: int) -> None:
    def statx(_folder: int, _path: bytes, _flags: int, _mask: int, found: object) -> int:
        found[0:4] = mask.to_bytes(4, sys.byteorder)  # type: ignore[index]
        return 0

    monkeypatch.setattr(births, "_statx", statx)
    assert birth_of(0) is None
    monkeypatch.setattr(births, "_statx", None)
    assert birth_of(0) is None
