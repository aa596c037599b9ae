"""What changed since the last look: everything in a small folder, and in time in a large one."""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from services.system_api.sources.file.folders import listing as module
from services.system_api.sources.file.folders.globbing import Glob
from services.system_api.sources.file.folders.listing import Changes, Listing
from shared.errors import Unavailable

NOW = 2e9


def look(listing: Listing, *paths: Path, new: bool = False, elapsed: float = 1.0, now: float = NOW) -> Changes:
    return listing.look({str(path): new for path in paths}, elapsed, now)


def names(changes: Changes) -> list[str]:
    return [Path(file.path).name for file in changes.changed]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make four files many."""
    monkeypatch.setattr(module, "SMALL", 1)
    monkeypatch.setattr(module, "_FEW", 3)
    monkeypatch.setattr(module, "_STATES_PER_SECOND", 1)


def test_the_first_look_returns_regular_files_oldest_first(tmp_path: Path) -> None:
    for name, time in (("b", 1), ("a", 2), ("c", 1)):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (time, time))
    (tmp_path / "folder").mkdir()
    (tmp_path / ".hidden").touch()
    (tmp_path / "broken").symlink_to(tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe")
    listing = Listing([Glob(f"{tmp_path}/*")])
    assert names(look(listing)) == ["b", "c", "a"]
    assert len(listing.inodes) == 3
    assert not any(look(listing))


@pytest.mark.parametrize("pattern", ["*/*", "**/*", "*/deeper/*"])
def test_a_folder_below_that_cannot_be_read_is_named_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    """Root may read every folder, so the error is simulated."""
    for name in ("closed", "gone", "lost+found", "open"):
        (tmp_path / name / "deeper").mkdir(parents=True)
        (tmp_path / name / name).touch()
    failing = {
        str(tmp_path / "closed"): PermissionError(13, "Permission denied"),
        str(tmp_path / "closed/deeper"): PermissionError(13, "Permission denied"),
        str(tmp_path / "gone"): FileNotFoundError(2, "deleted meanwhile"),
        str(tmp_path / "lost+found"): PermissionError(13, "Permission denied"),
        str(tmp_path / "lost+found/deeper"): PermissionError(13, "Permission denied"),
    }

    def patched(call: Any) -> Any:
        def failing_call(path: Any, **options: Any) -> Any:
            if isinstance(path, str | Path) and (error := failing.get(os.path.normpath(path))):
                raise error
            return call(path, **options)

        return failing_call

    if pattern == "*/deeper/*":
        monkeypatch.setattr(os, "stat", patched(os.stat))
    monkeypatch.setattr(os, "scandir", patched(os.scandir))
    monkeypatch.setattr(os, "listdir", patched(os.listdir))
    listing = Listing([Glob(f"{tmp_path}/{pattern}")])
    look(listing)
    (text,) = listing.unreadable.values()
    assert text.endswith("closed: folder not read: Permission denied")
    failing.clear()
    look(listing)
    assert listing.unreadable == {}


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    listing = Listing([Glob(f"{tmp_path}/in/*"), Glob(f"{tmp_path}/old/*")])
    with pytest.raises(Unavailable, match=r"folder .*/in: No such file"):
        look(listing)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").touch()
    assert names(look(listing)) == ["a"]
    (tmp_path / "in" / "a").unlink()
    (tmp_path / "in").rmdir()
    assert len(look(listing).gone) == 1, "its files are gone first"
    with pytest.raises(Unavailable):
        look(listing)
    (tmp_path / "in").touch()
    with pytest.raises(Unavailable, match="Not a directory"):
        look(listing)


def test_a_file_that_changes_is_returned_and_one_that_is_renamed_is_not_gone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    listing = Listing([Glob(f"{tmp_path}/*")])
    look(listing)
    path.write_text("x")
    assert names(look(listing)) == ["a"]
    path.rename(tmp_path / "b")
    changes = look(listing)
    assert (names(changes), changes.gone) == (["b"], set())
    (tmp_path / "b").rename(tmp_path / ".b")
    (tmp_path / "b").write_text("y")
    changes = look(listing)
    assert (names(changes), len(changes.gone), len(listing.inodes)) == (["b"], 1, 1)


def test_of_several_hard_links_one_is_returned(tmp_path: Path) -> None:
    (tmp_path / "b").touch()
    (tmp_path / "a").hardlink_to(tmp_path / "b")
    listing = Listing([Glob(f"{tmp_path}/*")])
    assert names(look(listing)) == ["a"]
    (tmp_path / "a").unlink()
    assert not any(look(listing))
    (tmp_path / "b").unlink()
    assert len(look(listing).gone) == 1


def test_files_of_the_source_itself_are_skipped(tmp_path: Path) -> None:
    listing = Listing([Glob(f"{tmp_path}/*")], lambda path: path.endswith(".receipt"))
    (tmp_path / "a").touch()
    (tmp_path / "a.receipt").touch()
    assert names(look(listing)) == ["a"]
    assert look(listing, tmp_path / "a.receipt", new=True) == ([], set(), ())


@pytest.mark.usefixtures("small")
def test_in_a_large_folder_a_named_path_is_looked_at_at_once_and_the_others_later(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / str(number)).touch()
    listing = Listing([Glob(f"{tmp_path}/*")])
    look(listing)
    for number in range(6):
        (tmp_path / str(number)).write_text("x")
    assert names(look(listing, tmp_path / "2", elapsed=0)) == ["2"]
    assert not any(look(listing, elapsed=0))
    found = {name for _ in range(2) for name in names(look(listing))}
    assert found == {"0", "1", "3", "4", "5"}
    (tmp_path / "0").write_text("yy")
    assert names(look(listing)) == ["0"], "what has changed lately is looked at each time"


@pytest.mark.usefixtures("small")
def test_in_a_large_folder_new_files_are_found_when_its_time_changes_and_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_NAMES_PER_SECOND", 6)
    for number in range(6):
        (tmp_path / str(number)).touch()
    os.utime(tmp_path, (5, 5))
    listing = Listing([Glob(f"{tmp_path}/*")])
    look(listing)
    (tmp_path / "new").touch()
    assert not any(look(listing, elapsed=0.5)), "not yet"
    assert names(look(listing, elapsed=0.5)) == ["new"]
    os.utime(tmp_path, (6, 6))
    look(listing, elapsed=2)
    (tmp_path / "old").touch()
    (tmp_path / "new").unlink()
    os.utime(tmp_path, (6, 6))
    changes = look(listing, elapsed=3)
    assert "old" not in names(changes), "the time of the folder is the same"
    assert len(changes.gone) == 1
    assert "old" in names(look(listing, elapsed=10))


@pytest.mark.usefixtures("small")
def test_a_folder_that_has_just_changed_is_read_again(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / str(number)).touch()
    os.utime(tmp_path, (NOW - 1, NOW - 1))
    listing = Listing([Glob(f"{tmp_path}/*")])
    look(listing)
    (tmp_path / "new").touch()
    os.utime(tmp_path, (NOW - 1, NOW - 1))
    assert "new" in names(look(listing))


def test_a_new_folder_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALL", 0)
    (tmp_path / "a.x").touch()
    listing = Listing([Glob(f"{tmp_path}/**/*.x")])
    look(listing)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.x").touch()
    assert names(look(listing, tmp_path / "b", elapsed=0)) == ["c.x"]
    (tmp_path / "b" / "c.x").unlink()
    (tmp_path / "b").rmdir()
    assert len(look(listing, tmp_path / "b", elapsed=0).gone) == 1


def test_a_file_that_came_and_went_has_vanished(tmp_path: Path) -> None:
    listing, path = Listing([Glob(f"{tmp_path}/*.x")]), tmp_path / "a.x"
    look(listing)
    assert look(listing, path, new=True).vanished == [str(path)]
    assert not look(listing, path).vanished, "nobody says that it was new"
    assert not look(listing, tmp_path / "a.y", new=True).vanished
    path.touch()
    look(listing)
    path.unlink()
    look(listing)
    assert not look(listing, path, new=True).vanished, "it was seen"
    assert look(listing, path, new=True, now=NOW + 60).vanished == [str(path)]
    (tmp_path / "b.x").touch()
    assert not look(listing, path, new=True, now=NOW + 60).vanished, "it may be b.x now"


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_the_looks_together_return_what_is_there(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SMALL", 2)
    monkeypatch.setattr(module, "_FEW", 5)
    monkeypatch.setattr(module, "_STATES_PER_SECOND", 5)
    rng = random.Random(seed)
    (tmp_path / "b").mkdir()
    listing, known = Listing([Glob(f"{tmp_path}/**/*.x")]), dict[tuple[int, int], Any]()

    def merge(changes: Changes) -> None:
        for inode in changes.gone:
            known.pop(inode, None)
        known.update({file.inode: (file.path, file.size) for file in changes.changed})

    for _ in range(200):
        path = tmp_path / rng.choice(["", "b"]) / f"{rng.randrange(12)}.x"
        match rng.randrange(4):
            case 0:
                path.write_text("x" * rng.randrange(100))
            case 1:
                path.unlink(missing_ok=True)
            case 2 if path.exists():
                path.rename(tmp_path / f"{rng.randrange(12)}.x")
            case _:
                merge(look(listing, *([path] if rng.random() < 0.5 else []), elapsed=rng.choice([0, 0.1, 1])))
    for _ in range(10):
        merge(look(listing, elapsed=5, now=NOW + 100))
    expected = {
        (path.stat().st_dev, path.stat().st_ino): (str(path), path.stat().st_size) for path in tmp_path.rglob("*.x")
    }
    assert known == expected, f"seed {seed}"
