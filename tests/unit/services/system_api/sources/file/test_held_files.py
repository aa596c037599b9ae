"""Files that are held open, within the limit of the process."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.system_api.sources.file import held_files
from services.system_api.sources.file.filesystem import FileStat, close, open_file
from services.system_api.sources.file.held_files import DescriptorBudget, HeldFiles, Retained, state_of
from tests.unit.services.system_api.sources.file.file_poller import list_files, until, write


@pytest.fixture
def files(tmp_path: Path) -> list[FileStat]:
    for number in range(4):
        write(tmp_path / f"{number}", number)
        os.utime(tmp_path / f"{number}", (number, number))
    return list(list_files(f"{tmp_path}/*"))


@pytest.fixture
def held() -> Iterator[HeldFiles]:
    held = HeldFiles(DescriptorBudget(2))
    yield held
    held.release_all()
    assert len(held) == 0


def test_the_newest_files_are_held_and_the_others_named(held: HeldFiles, files: list[FileStat]) -> None:
    held.hold(files)
    assert held.inodes == [files[2].inode, files[3].inode]
    assert held.unheld == {files[0].inode, files[1].inode}
    (problem,) = held.problems([files[0].inode])
    assert problem.startswith("1 files are not held open, because the process may hold 2: what is written to such a")
    held.hold([files[0]])
    assert held.inodes == [files[3].inode, files[0].inode], "the oldest makes room"
    held.hold([files[0]])
    assert len(held) == 2
    assert held.problems(held.unheld) == []


def test_a_file_that_no_path_leads_to_does_not_make_room(held: HeldFiles, files: list[FileStat]) -> None:
    held.hold(files[:2])
    held.pin([files[0].inode, files[3].inode])
    held.hold([files[2]])
    assert held.inodes == [files[0].inode, files[2].inode]
    held.pin(held.inodes)
    held.hold([files[3]])
    assert files[3].inode not in held
    assert files[3].inode in held.unheld
    held.release(files[0].inode)
    held.release(files[0].inode)
    held.hold([files[3]])
    assert files[3].inode in held


def test_an_open_file_is_held_or_closed(held: HeldFiles, files: list[FileStat]) -> None:
    descriptors = [open_file(file.path, file.inode) for file in (*files[:3], files[2])]
    for file, descriptor in zip((*files[:3], files[2]), descriptors, strict=True):
        assert descriptor is not None
        held.give(file.inode, file.path, descriptor, close)
    assert held.inodes == [files[1].inode, files[2].inode]
    taken = held.take(files[1].inode)
    assert taken is not None
    assert taken == descriptors[1]
    assert held.take(files[1].inode) is None
    held.pin(held.inodes)
    held.hold(files[:1])
    held.pin(held.inodes)
    held.give(files[1].inode, files[1].path, taken, close)
    assert files[1].inode in held.unheld
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(taken)


def test_a_held_file_is_found_where_it_is(held: HeldFiles, files: list[FileStat], tmp_path: Path) -> None:
    held.hold(files[:2])
    Path(files[0].path).rename(tmp_path / "moved")
    Path(files[1].path).unlink()
    states = held.states(file.inode for file in files)
    moved, deleted = states[files[0].inode], states[files[1].inode]
    assert (moved.file.path, moved.file.size, moved.deleted) == (str(tmp_path / "moved"), 11, False)
    assert (deleted.file.path, deleted.file.size, deleted.deleted) == (files[1].path, 11, True)
    assert states.keys() == {files[0].inode, files[1].inode}


def test_a_file_that_cannot_be_opened_is_not_held(held: HeldFiles, files: list[FileStat]) -> None:
    held.hold([files[0]._replace(ino=1), files[1]._replace(path="/missing")])
    assert len(held) == 0
    held.hold(files[2:])
    assert len(held) == 2, "the budget is what it was"


def test_the_state_of_a_file_that_is_gone_from_its_server(files: list[FileStat]) -> None:
    descriptor = open_file(files[0].path, files[0].inode)
    assert descriptor is not None
    close(descriptor)
    state = state_of(descriptor, "a", (1, 2))
    assert (state.file, state.deleted, state.written) == (FileStat("a", 1, 2, 0, 0), True, None)


def test_the_budget_is_a_share_of_what_the_process_may_open(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = DescriptorBudget()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, 2000))
    assert budget.limit == 750
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert budget.limit == 750_000
    assert not DescriptorBudget(0).take()


async def test_files_of_a_source_stay_open_when_it_is_closed(files: list[FileStat]) -> None:
    retained = Retained(DescriptorBudget(10))
    with retained.of("orders") as held:
        held.hold(files)
        with retained.of("orders") as same, retained.of("prices") as other:
            assert same is held
            assert other is not held
        retained.clear()
        assert len(held) == 4, "it is open"
    with retained.of("orders") as same:
        assert same is held
        assert len(held) == 4


async def test_files_of_a_closed_source_are_closed_after_a_while(
    files: list[FileStat], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_files, "_KEEP", 0.0)
    retained = Retained(DescriptorBudget(10))
    with retained.of("orders") as held:
        held.hold(files)
    await until(lambda: not len(held))
    with retained.of("orders") as new:
        assert new is not held


def test_a_file_that_two_threads_hold_at_once_is_held_once(
    held: HeldFiles, files: list[FileStat], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, closed = open_file(files[0].path, files[0].inode), list[int]()
    assert mine is not None

    def give_meanwhile(path: str, inode: tuple[int, int]) -> int | None:
        held.give(inode, path, mine, closed.append)
        return open_file(path, inode)

    monkeypatch.setattr(held_files, "open_file", give_meanwhile)
    monkeypatch.setattr(held_files, "close", closed.append)
    held.hold(files[:1])
    (second,) = closed
    assert held.take(files[0].inode) == mine != second
    os.close(mine)
    os.close(second)
    monkeypatch.undo()
    held.hold(files[1:])
    assert len(held) == 2, "the budget is what it was"
