"""Which files are known, new, missing and forgotten."""

from services.system_api.sources.file.filesystem import FileStat
from services.system_api.sources.file.reading.catalogue import Catalogue
from services.system_api.sources.file.reading.progress import Count, Progress


def file(path: str, ino: int, size: int = 100) -> FileStat:
    return FileStat(path, 1, ino, size, 5)


def progress(path: str, ino: int, offset: int = 50) -> Progress:
    return Progress(path=path, dev=1, ino=ino, offset=offset, line=1, fingerprint="", sample=0)


def catalogue(**files: Progress) -> Catalogue:
    return Catalogue(Count(9), {name.replace("_", "."): each for name, each in files.items()}, forget_after=10)


def test_the_path_of_a_file_is_where_it_was_seen_last() -> None:
    known = catalogue(_1=progress("a", 1))
    assert (known.path_of((1, 1)), known.path_of((1, 2))) == ("a", None)


def test_a_file_is_known_by_its_inode_under_any_name() -> None:
    known = catalogue(_1=progress("a", 1), _2=progress("b", 2))
    known.begin({(1, 1), (1, 3)}, 0)
    assert known.note_found(file("b", 1)) == ".1"
    assert known.files[".1"].path == "b"
    assert known.note_found(file("c", 3)) is None
    assert (known.id_of((1, 2)), known.id_of((1, 3))) == (".2", None)
    assert known.missing == {".2": 0}


def test_a_file_is_missing_until_it_is_found_again() -> None:
    known = catalogue(_1=progress("a", 1))
    assert known.note_gone((1, 1), 5) == ".1"
    assert known.note_gone((1, 1), 6) == ".1"
    assert known.note_gone((1, 2), 6) is None
    assert known.missing == {".1": 5}
    known.note_found(file("a", 1))
    assert known.missing == {}


def test_a_missing_file_of_the_same_name_is_a_candidate_the_newest_first() -> None:
    files = {
        "2.x": progress("a", 1),
        "10.x": progress("a", 2),
        "3.x": progress("b", 3),
        "4.x": progress("a", 4, 900),
        "5.x": progress("a", 5),
        "6.x": progress("a", 6),
    }
    known = Catalogue(Count(9), files, 10)
    assert known.candidates(file("a", 7)) == []
    known.begin([(1, 5)], 0)
    assert known.candidates(file("a", 7)) == ["10.x", "6.x", "2.x"]
    known.move("6.x", file("c", 6))
    assert known.candidates(file("a", 7)) == ["10.x", "2.x"]
    known.note_found(file("a", 2))
    assert known.candidates(file("a", 7)) == ["2.x"]
    known.continue_in("2.x")
    assert known.candidates(file("a", 7)) == []
    known.note_gone((1, 5), 1)
    assert known.candidates(file("a", 7)) == ["5.x"]
    known.forget("5.x")
    assert known.candidates(file("a", 7)) == []


def test_a_moved_file_is_known_by_its_new_inode() -> None:
    known = catalogue(_1=progress("a", 1))
    assert known.move(".1", file("b", 8)) == progress("b", 8)
    assert (known.id_of((1, 8)), known.id_of((1, 1))) == (".1", None)


def test_missing_time_counts_from_the_first_look_without_the_file_or_its_last_change() -> None:
    known = catalogue(_1=progress("a", 1))
    known.begin((), 100)
    assert known.missing_for(".1", 107) == 7
    assert list(known.expired(110)) == []
    assert list(known.expired(111)) == [".1"]
    known.still_active(".1", 111)
    assert list(known.expired(112)) == []
    known.note_found(file("a", 1))
    known.still_active(".1", 113)
    known.note_gone((1, 1), 120)
    assert known.missing_for(".1", 121) == 1
    assert known.missing_for("unknown", 121) == 0


def test_another_file_may_get_the_inode_of_a_known_one() -> None:
    known = catalogue(_1=progress("a", 1))
    known.add("10.x", progress("b", 1))
    assert known.forget(".1")
    assert known.id_of((1, 1)) == "10.x"
    known.update("10.x", progress("b", 2))
    assert known.id_of((1, 1)) is None


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
