"""Which files are known, new, missing and forgotten."""

from services.system_api.sources.file.filesystem import FileStat
from services.system_api.sources.file.reading.catalogue import Catalogue, PresentFile
from services.system_api.sources.file.reading.progress import Count, Progress


def file(path: str, ino: int, size: int = 100) -> FileStat:
    return FileStat(path, 1, ino, size, 5)


def progress(path: str, ino: int, offset: int = 50) -> Progress:
    return Progress(path=path, dev=1, ino=ino, offset=offset, line=1, fingerprint="", sample=0)


def catalogue(**files: Progress) -> Catalogue:
    return Catalogue(Count(9), {name.replace("_", "."): each for name, each in files.items()}, forget_after=10)


def test_a_file_is_known_by_its_inode_under_any_name() -> None:
    known = catalogue(_1=progress("a", 1), _2=progress("b", 2))
    found = known.classify([file("b", 1), file("c", 3)], 0)
    assert found.present == [PresentFile(file("b", 1), ".1"), PresentFile(file("c", 3), None)]
    assert found.missing == [".2"]


def test_the_order_is_kept_and_a_second_hard_link_left_out() -> None:
    found = catalogue().classify([file("a", 1), file("b", 2), file("c", 1), file("d", 3)], 0)
    assert [present.file.path for present in found.present] == ["a", "b", "d"]


def test_a_missing_file_of_the_same_name_is_a_candidate_the_newest_first() -> None:
    files = {"2.x": progress("a", 1), "10.x": progress("a", 2), "3.x": progress("b", 3), "4.x": progress("a", 4, 900)}
    known = Catalogue(Count(9), files, 10)
    assert known.candidates(file("a", 7), files) == ["10.x", "2.x"]


def test_a_moved_file_is_known_by_its_new_inode() -> None:
    known = catalogue(_1=progress("a", 1))
    assert known.move(".1", file("b", 8)) == progress("b", 8)
    assert known.classify([file("b", 8)], 0).missing == []


def test_missing_time_counts_from_the_first_listing_without_the_file() -> None:
    known = catalogue(_1=progress("a", 1))
    known.classify([], 100)
    known.classify([], 105)
    assert known.missing_for(".1", 107) == 7
    assert list(known.expired(110)) == []
    assert list(known.expired(111)) == [".1"]
    known.classify([file("a", 1)], 112)
    known.classify([], 120)
    assert known.missing_for(".1", 121) == 1
    assert known.missing_for("unknown", 121) == 0


def test_numbers_are_never_reused() -> None:
    known = catalogue(_1=progress("a", 1))
    assert known.next_number == 10
    known.add("10.x", progress("b", 2))
    assert known.forget("10.x") is True
    assert known.forget("10.x") is False
    assert known.next_number == 11


def test_a_file_that_was_not_moved_keeps_its_progress() -> None:
    known = catalogue(_1=progress("a", 1))
    before = known.files[".1"]
    assert known.move(".1", file("a", 1)) is before
