"""Readers return in time, resume anywhere, and count what they read. The formats are tested with real files."""

import io
import random

import pytest

from services.system_api.sources.file.documents.content import Compression, Content
from services.system_api.sources.file.documents.reader import DocumentReader, LineReader, PartReader, RecordReader
from services.system_api.sources.file.documents.records import FoundRecord, Records, UnreadableDocument
from services.system_api.sources.file.parsing.delimited import Csv
from services.system_api.sources.file.parsing.identity import FileIdentity
from services.system_api.sources.file.parsing.ndjson import Ndjson
from services.system_api.sources.file.parsing.parser import Parser
from services.system_api.sources.source import Batch, EventBuilder
from shared.errors import Unavailable
from shared.runtime.clock import SystemClock


class SlowClock(SystemClock):
    """Advances by 0.1 s whenever it is asked."""

    def __init__(self) -> None:
        self._at = 0.0

    def monotonic(self) -> float:
        self._at += 0.1
        return self._at


BUILDER = EventBuilder("files", "t", None, SystemClock(), random.Random(1))
IDENTITY = FileIdentity("files", "1.ab", "in/a")


def records(count: int) -> Records:
    for number in range(count):
        yield None
        yield FoundRecord(b'{"id":"%d"}' % number, f"line {number}")


def record_reader(found: Records, position: int = 0, clock: SystemClock | None = None) -> RecordReader:
    return RecordReader(found, Ndjson("id", None), BUILDER, IDENTITY, 100, position, clock or SystemClock())


def line_reader(content: bytes, position: int = 0, line: int = 0, clock: SystemClock | None = None) -> LineReader:
    def make(offset: int, line: int) -> Parser:
        form = Csv("id", None, delimiter=",", quotes=True, header=True, columns=None, types={})
        return Parser(form, BUILDER, IDENTITY, 100, offset=offset, line=line, whole=True)

    return LineReader(io.BytesIO(content), make, position, line, clock or SystemClock())


def read_all(reader: PartReader | DocumentReader, limit: int = 3) -> Batch:
    batch = Batch()
    while reader.read(batch, len(batch.records) + len(batch.rejects) + limit):
        pass
    return batch


def test_a_reader_returns_before_it_takes_too_long() -> None:
    batch, reader = Batch(), record_reader(records(10), clock=SlowClock())
    assert reader.read(batch, 100)
    assert len(batch.records) == 1
    assert len(read_all(reader, 100).records) == 9
    lines = line_reader(b"id\n" + b"1\n" * 10, clock=SlowClock())
    assert lines.read(batch, 100)


def test_a_reader_returns_after_some_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.system_api.sources.file.documents.reader._MOST_BYTES", 20)
    batch = Batch()
    assert record_reader(records(10)).read(batch, 100)
    assert len(batch.records) == 3


@pytest.mark.parametrize("position", [0, 1, 5, 9, 10])
def test_records_that_were_published_are_passed_by(position: int) -> None:
    reader = record_reader(records(10), position)
    batch = read_all(reader)
    ids = [b'"id":"files:1.ab:%d"' % number for number in range(position, 10)]
    assert all(one in (record.value or b"") for one, record in zip(ids, batch.records, strict=True))
    assert (reader.position, reader.rows, reader.rejects) == (10, 10 - position, 0)


def test_a_record_that_is_too_large_is_rejected_with_what_was_kept() -> None:
    large = FoundRecord(b'{"id":"' + b"x" * 70_000 + b'"}', "line 1")
    cut = FoundRecord(b"beginning", "line 2", "found a record of 90000 bytes", 90_000)
    reader = record_reader(iter([large, cut]))
    batch = read_all(reader)
    assert [len(reject.value) for reject in batch.rejects] == [65_536, 9]
    assert batch.rejects[0].error.startswith(
        "in/a, record 0, line 1: found a record of 70009 bytes as JSON, the limit is"
    )
    assert (batch.rejects[1].id, batch.rejects[1].origin) == ("files:1.ab:1", "files:in/a:record 1")
    assert (reader.rejects, reader.truncated) == (2, True)


@pytest.mark.parametrize("newline", [b"\n", b"\r"])
@pytest.mark.parametrize("taken", [0, 1, 4, 9])
def test_lines_resume_behind_the_last_one(newline: bytes, taken: int) -> None:
    content = newline.join([b"id", *(b"%d" % number for number in range(10))])
    first, batch = line_reader(content), Batch()
    if taken:
        first.read(batch, taken)
    rest = read_all(line_reader(content, first.position, first.line))
    whole = read_all(line_reader(content))
    values = [(record.value or b"").partition(b'"id"')[2] for record in [*batch.records, *rest.records]]
    expected = [(record.value or b"").partition(b'"id"')[2] for record in whole.records]
    assert [value.partition(b',"time"')[0] for value in values] == [one.partition(b',"time"')[0] for one in expected]
    assert len(expected) == 10


def test_a_content_that_has_become_shorter_is_an_error() -> None:
    with pytest.raises(UnreadableDocument, match="expected more than 100"):
        read_all(line_reader(b"id\n1\n", 100, 7))


def test_parts_are_read_one_after_another_and_counted() -> None:
    def make(_content: Content, part: int, _name: str, position: int, _line: int) -> PartReader:
        found = [*records(3), FoundRecord(b"?", "line 9", "broken", 9)] if part == 1 else list(records(3))
        return record_reader(iter(found), position)

    content = Content(io.BytesIO(b""), Compression.NONE)
    content.parts = ["a", "b", "c"]
    reader = DocumentReader(content, make)
    batch = read_all(reader)
    assert (reader.part, reader.position, reader.line) == (3, 0, 0)
    assert (reader.rows, reader.rejects, reader.truncated) == (9, 1, True)
    assert len(batch.records) == 9
    resumed = DocumentReader(content, make, part=1, position=2, line=0)
    assert (resumed.rows, resumed.rejects, resumed.truncated, resumed.line) == (0, 0, False, 0)
    assert len(read_all(resumed).records) == 4
    assert DocumentReader(content, make, part=3).read(Batch(), 1) is False
    reader.close()


class Panic(BaseException):
    """As a library that is written in Rust raises it."""


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("odd"), Panic("index out of bounds")])
def test_an_error_that_no_format_expects_makes_the_document_unreadable(error: BaseException) -> None:
    def failing() -> Records:
        yield from records(2)
        raise error

    batch, reader = Batch(), record_reader(failing())
    with pytest.raises(UnreadableDocument, match=type(error).__name__):
        reader.read(batch, 100)
    assert (len(batch.records), reader.position) == (2, 2)


@pytest.mark.parametrize(
    "error", [OSError(5, "disk"), Unavailable("gone"), MemoryError(), UnreadableDocument("broken")]
)
def test_an_error_that_has_a_meaning_is_raised_as_it_is(error: Exception) -> None:
    def failing() -> Records:
        yield from records(1)
        raise error

    with pytest.raises(type(error)) as raised:
        record_reader(failing()).read(Batch(), 100)
    assert raised.value is error
