"""What is saved of a file and loaded again."""

import pytest

from services.system_api.sources.file.filesystem import FileStat
from services.system_api.sources.file.reading.progress import (
    SAMPLE,
    Count,
    Progress,
    fingerprint_of,
    load,
    new_file_id,
    number_of,
    passed_over,
    save,
    unread,
)
from shared.errors import SettingsError

PROGRESS = Progress(
    path="in/a", dev=1, ino=2**63, offset=1000, line=7, fingerprint="ab", sample=9, rows=5, done=(1000, 2**62)
)


def test_a_saved_checkpoint_is_loaded() -> None:
    assert load({"": save(Count(3)), "1.ab": save(PROGRESS)}) == (Count(3), {"1.ab": PROGRESS})
    assert load({}) == (Count(0), {})


@pytest.mark.parametrize("foreign", [{"": b'{"rows":1}'}, {"": b"7"}, {"": b"{"}, {"a": b"{}"}, {"a": b"null"}])
def test_a_checkpoint_of_another_kind_is_an_error(foreign: dict[str, bytes]) -> None:
    with pytest.raises(SettingsError, match="give the source another name"):
        load(foreign)


def test_fingerprints_differ_for_different_contents() -> None:
    fingerprints = [
        fingerprint_of(head, last)
        for head, last in [(b"a", b"b"), (b"ab", b""), (b"", b"ab"), (b"a", b"c"), (b"1", b":b")]
    ]
    assert len(set(fingerprints)) == len(fingerprints)


def test_ids_are_unique_and_contain_the_number() -> None:
    ids = [
        new_file_id(1, (1, 2), b"x"),
        new_file_id(2, (1, 2), b"x"),
        new_file_id(1, (1, 3), b"x"),
        new_file_id(1, (1, 2), b"y"),
    ]
    ids.append(new_file_id(1, (1, 2), b"x", 100, 5))
    assert len(set(ids)) == len(ids)
    assert [number_of(file_id) for file_id in ids] == [1, 2, 1, 1, 1]
    assert new_file_id(1, (1, 2), b"x") == ids[0]


def test_a_file_is_identified_by_device_and_inode() -> None:
    assert PROGRESS.inode == (1, 2**63)


def test_the_head_is_what_was_read_of_a_file_limited_to_a_sample() -> None:
    assert PROGRESS.head == SAMPLE == 512
    assert Progress(path="in/a", dev=1, ino=1, offset=7, line=1, fingerprint="", sample=0).head == 7


@pytest.mark.parametrize("size", [0, 100])
def test_a_known_file_that_is_read_again_is_known_by_what_was_not_read(size: int) -> None:
    known = Progress(
        path="a", dev=1, ino=2, offset=70, line=3, fingerprint="ab", sample=9, size=size, done=(70, 5), begin=7
    )
    again = unread(known)
    assert (again.path, again.inode, again.offset, again.line, again.done, again.begin) == ("a", (1, 2), 0, 0, None, 0)
    assert again.fingerprint == ("ab" if size else fingerprint_of(b"", b""))


@pytest.mark.parametrize(("whole", "begin", "done"), [(False, 30, None), (True, 0, (30, 5))])
def test_of_a_file_that_is_passed_over_nothing_is_read(whole: bool, begin: int, done: tuple[int, int] | None) -> None:
    found = passed_over(FileStat("a", 1, 2, 30, 5), "ab", whole=whole)
    assert (found.path, found.inode, found.offset, found.fingerprint) == ("a", (1, 2), 0, "ab")
    assert (found.begin, found.done, found.passed_over) == (begin, done, whole)
