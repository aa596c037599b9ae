"""In which order files are read."""

from services.system_api.sources.file.filesystem import FileStat
from services.system_api.sources.file.reading.jobs import Job, Jobs


def job(path: str, ino: int, size: int = 1) -> Job:
    return Job(FileStat(path, 1, ino, size, 5), None)


def drained(jobs: Jobs) -> list[str]:
    found = []
    while jobs:
        found.append(jobs.first.file.path)
        jobs.remove(jobs.first.file.inode)
    return found


def test_a_file_that_changes_again_is_read_after_the_others() -> None:
    jobs = Jobs()
    for each in (job("a", 1), job("b", 2), job("a", 1, 9)):
        jobs.add(each)
    assert (1, 1) in jobs
    assert drained(jobs) == ["b", "a"]
    assert (1, 1) not in jobs
    assert jobs.remove((1, 1)) is None


def test_departed_files_are_read_first_in_their_order() -> None:
    jobs = Jobs()
    for each in (job("a", 1), job("b", 2), job("c", 3)):
        jobs.add(each)
    jobs.add_first([job("x", 9), job("c", 3)])
    assert [each.file.path for each in jobs.all()] == ["x", "c", "a", "b"]
    assert drained(jobs) == ["x", "c", "a", "b"]
