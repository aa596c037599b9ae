"""From bytes to events and rejects: every byte in exactly one of them, for any bytes."""

import gzip
import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.file.parsing.delimited import Csv
from services.system_api.sources.file.parsing.identity import FileIdentity
from services.system_api.sources.file.parsing.ndjson import Ndjson
from services.system_api.sources.file.parsing.parser import Format, Parser, UnusableFile
from services.system_api.sources.source import Batch, EventBuilder
from shared.events.event import decode, validate
from shared.events.headers import PROVENANCE, unpack_provenance
from shared.runtime.clock import SYSTEM_CLOCK

LIMIT = 64


def csv_format() -> Csv:
    return Csv("id", None, delimiter=",", quotes=True, header=False, columns=("id", "b"), types={})


def csv_with_header() -> Csv:
    return Csv("id", None, delimiter=",", quotes=True, header=True, columns=None, types={})


FORMATS: dict[str, Callable[[], Format]] = {"ndjson": lambda: Ndjson("id", None), "csv": csv_format}


def parser(form: Format, *, offset: int = 0, line: int = 0) -> Parser:
    builder = EventBuilder("orders", "t", None, SYSTEM_CLOCK, random.Random(1))
    return Parser(form, builder, FileIdentity("orders", "1.ab", "in/a.ndjson"), LIMIT, offset=offset, line=line)


def parse(form: Format, content: bytes, portions: list[int] | None = None) -> tuple[Parser, Batch]:
    reader, batch, at = parser(form), Batch(), 0
    for size in [*(portions or []), len(content)]:
        reader.splitter.feed(content[at : at + size])
        at = min(at + size, len(content))
        take_all(reader, batch)
    reader.splitter.finish()
    take_all(reader, batch)
    return reader, batch


def take_all(reader: Parser, batch: Batch) -> None:
    while reader.splitter.waiting:
        reader.take(batch, len(batch.records) + len(batch.rejects) + 3)


def offsets(batch: Batch) -> list[int]:
    """The offsets of all events and rejects, by their ids."""
    ids = [unpack_provenance(dict(record.headers)[PROVENANCE]).id for record in batch.records]
    ids += [reject.id for reject in batch.rejects]
    return sorted(int(identity.removeprefix("orders:1.ab:")) for identity in ids)


NDJSON = st.sampled_from([b'{"id":"1"}', b'{"id":2,"n":1}', b'{"id":null}', b"[]", b"{", b" ", b"\r", b"\xff", b"\0"])
ROWS = st.sampled_from([b"1,2", b'1,"2\n3"', b"1", b"1,2,3", b",2", b'1,"', b'"1"x,2', b" ", b"\r", b"\xff", b"\0"])
PORTIONS = st.lists(st.integers(0, 30), max_size=10)


@pytest.mark.parametrize("kind", FORMATS)
@given(st.data())
def test_every_line_is_an_event_or_a_reject_or_blank(kind: str, data: st.DataObject) -> None:
    known = NDJSON if kind == "ndjson" else ROWS
    pieces = data.draw(st.lists(known | st.binary(max_size=12) | st.just(b"z" * 70), max_size=12))
    content = b"\n".join(pieces)
    reader, batch = parse(FORMATS[kind](), content, data.draw(PORTIONS))
    assert reader.splitter.offset == len(content)
    assert (reader.rows, reader.rejects) == (len(batch.records), len(batch.rejects))
    for record in batch.records:
        event = decode(record.value or b"")
        validate(event)
        json.loads(bytes(event["data"]))
    # What lies between one event or reject and the next is its own bytes, or blank lines.
    starts = offsets(batch)
    assert len(set(starts)) == len(starts)
    assert not content[: starts[0] if starts else None].removeprefix(b"\xef\xbb\xbf").strip()
    for reject in batch.rejects:
        first = int(reject.id.rpartition(":")[2])
        end = min([start for start in starts if start > first], default=len(content))
        assert content[first:end].startswith(reject.value)
        if len(reject.value) < LIMIT:
            assert not content[first + len(reject.value) : end].strip()
    if kind == "ndjson":
        expected, at = [], 0
        for line in content.split(b"\n"):
            if line.removeprefix(b"\xef\xbb\xbf" if at == 0 else b"").strip():
                expected.append(at)
            at += len(line) + 1
        assert starts == expected


@pytest.mark.parametrize("kind", FORMATS)
@given(content=st.binary(max_size=200), portions=PORTIONS)
def test_portions_do_not_matter(kind: str, content: bytes, portions: list[int]) -> None:
    whole, parts = parse(FORMATS[kind](), content)[1], parse(FORMATS[kind](), content, portions)[1]
    assert whole.rejects == parts.rejects
    assert offsets(whole) == offsets(parts)


def test_a_reject_names_path_line_and_bytes_and_keeps_the_line() -> None:
    _, batch = parse(Ndjson("id", None), b'{"id":"1"}\n\n{"id":oops}\n{"id":"2"}\n')
    (reject,) = batch.rejects
    assert reject.value == b'{"id":oops}'
    assert reject.error.startswith("in/a.ndjson, line 3, bytes 12-22: JSON is malformed")
    assert (reject.id, reject.stage, reject.origin) == ("orders:1.ab:12", "source", "orders:in/a.ndjson:3")
    assert offsets(batch) == [0, 12, 24]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b'{"id":"\xff"}', "not UTF-8: invalid start byte at its byte 7"),
        (b"\x89PNG\0\0", "found a NUL byte at its byte 4; expected text"),
        (b'{"id":"' + b"x" * 64 + b'"}', "found a line of 73 bytes, the limit is 64; its first 64 are kept"),
    ],
)
def test_a_line_that_is_no_text_is_rejected_alone(line: bytes, error: str) -> None:
    for form in (Ndjson("id", None), csv_format()):
        good = b'{"id":"1"}' if isinstance(form, Ndjson) else b"1,2"
        reader, batch = parse(form, good + b"\n" + line + b"\n" + good + b"\n")
        assert len(batch.records) == 2
        assert batch.rejects[0].error.endswith(error)
        assert reader.truncated is ("kept" in error)


def test_a_huge_line_is_rejected_with_its_head_and_its_range() -> None:
    content = b'{"id":"1"}\n{"id":"' + b"x" * 2_000_000 + b'"}\n{"id":"2"}\n'
    reader, batch = parse(Ndjson("id", None), content, [1000] * 2000)
    (reject,) = batch.rejects
    assert "line 2, bytes 11-2000019: found a line of 2000009 bytes" in reject.error
    assert len(reject.value) == LIMIT
    assert reader.truncated
    assert len(batch.records) == 2


def test_carriage_returns_and_the_byte_order_mark_are_not_part_of_the_data() -> None:
    for form, row, data in (
        (Ndjson("id", None), b'{"id":"1"}', b'"data":{"id":"1"}}'),
        (csv_with_header(), b"1", b'"data":{"id":"1"}}'),
    ):
        head = b"" if isinstance(form, Ndjson) else b"id\r\n"
        _, batch = parse(form, b"\xef\xbb\xbf" + head + row + b"\r\n" + row + b"\r\n")
        assert [(record.value or b"").endswith(data) for record in batch.records] == [True, True]
        assert not batch.rejects


def test_a_batch_is_limited_and_nothing_is_lost() -> None:
    reader, batch = parser(Ndjson("id", None)), Batch()
    reader.splitter.feed(b'{"id":"1"}\n' * 5 + b"bad\n" * 5)
    reader.take(batch, 4)
    assert (len(batch.records), reader.line, reader.splitter.offset) == (4, 4, 44)
    reader.take(batch, 4)
    assert len(batch.records) == 4
    second = Batch()
    reader.take(second, 4)
    assert (len(second.records), len(second.rejects), reader.line) == (1, 3, 8)


def test_a_file_with_a_wrong_header_is_rejected_as_a_whole() -> None:
    for content in (b"key,name\n1,2\n", b"\x89PNG\n1,2\n", b"id,\0\n"):
        reader, batch = parser(csv_with_header()), Batch()
        reader.splitter.feed(content)
        with pytest.raises(UnusableFile, match=r"in/a\.ndjson: header: "):
            reader.take(batch, 10)
        assert not batch


def test_reading_resumes_in_the_middle_with_the_header_of_the_beginning() -> None:
    content = b"\xef\xbb\xbf\r\nid,b\r\n1,2\r\n"
    reader, batch = parser(csv_with_header(), offset=len(content), line=3), Batch()
    reader.resume(content[:20])
    reader.splitter.feed(b"3,4\r\nbad\r\n")
    reader.take(batch, 10)
    assert (batch.records[0].value or b"").endswith(b'"data":{"id":"3","b":"4"}}')
    assert f"line 5, bytes {len(content) + 5}-" in batch.rejects[0].error


def test_a_header_that_is_not_found_is_an_error() -> None:
    with pytest.raises(UnusableFile, match="no header found within the first 3 bytes"):
        parser(csv_with_header(), offset=50).resume(b"id,")
    parser(Ndjson("id", None), offset=50).resume(b"")


@pytest.mark.parametrize("portion", [1, 2, 3, 4, 100])
def test_a_byte_order_mark_before_a_quoted_header_with_a_line_break_is_skipped(portion: int) -> None:
    content = b'\xef\xbb\xbf"id\nx","name"\n"1","x"\n2,y\n'
    form = Csv("id\nx", None, delimiter=",", quotes=True, header=True, columns=None, types={})
    _, batch = parse(form, content, [portion] * (len(content) // portion))
    assert not batch.rejects
    assert [json.loads(record.value or b"")["data"] for record in batch.records] == [
        {"id\nx": "1", "name": "x"},
        {"id\nx": "2", "name": "y"},
    ]
    resumed = parser(Csv("id\nx", None, delimiter=",", quotes=True, header=True, columns=None, types={}), offset=25)
    resumed.resume(content)


def test_a_byte_order_mark_that_is_not_at_the_beginning_belongs_to_its_field() -> None:
    form = Csv("id", None, delimiter=",", quotes=True, header=False, columns=("id",), types={})
    _, batch = parse(form, b'1\n\xef\xbb\xbf"2\n')
    assert [json.loads(record.value or b"")["data"] for record in batch.records] == [{"id": "1"}, {"id": '\ufeff"2'}]


def whole_parser(form: Format, *, offset: int = 0, line: int = 0) -> Parser:
    builder = EventBuilder("orders", "t", None, SYSTEM_CLOCK, random.Random(1))
    identity = FileIdentity("orders", "1.ab", "in/a")
    return Parser(form, builder, identity, LIMIT, offset=offset, line=line, whole=True)


def feed_all(reader: Parser, batch: Batch, content: bytes, portion: int) -> None:
    for at in range(0, len(content), portion):
        reader.feed(content[at : at + portion])
        take_all(reader, batch)


def parse_whole(form: Format, content: bytes, portion: int = 1000) -> Batch:
    reader, batch = whole_parser(form), Batch()
    feed_all(reader, batch, content, portion)
    reader.splitter.finish()
    take_all(reader, batch)
    assert reader.splitter.offset == len(content)
    return batch


@pytest.mark.parametrize("portion", [1, 2, 7, 1000])
def test_lines_of_a_whole_file_may_end_in_carriage_returns(portion: int) -> None:
    for form, content in (
        (csv_with_header(), b"id,b\r1,\r2,x\r"),
        (Ndjson("id", None), b'{"id":"1"}\r{"id":"2"}'),
    ):
        batch = parse_whole(form, content, portion)
        assert [json.loads(record.value or b"")["subject"] for record in batch.records] == ["1", "2"]
        assert not batch.rejects


def test_a_carriage_return_within_the_only_line_of_a_whole_file_ends_nothing() -> None:
    assert len(parse_whole(Ndjson("id", None), b'{"id":\r"1"}').records) == 1
    assert not parse_whole(csv_with_header(), b'id,"a\rb"').rejects
    assert len(parse_whole(csv_with_header(), b'id,"a\rb"\n1,2\n').records) == 1


def test_a_whole_file_whose_lines_end_in_carriage_returns_is_resumed() -> None:
    content = b"id,b\r1,2\r3,4\r"
    reader, batch = whole_parser(csv_with_header(), offset=9, line=2), Batch()
    reader.splitter.use_carriage_returns()
    reader.resume(content)
    reader.feed(content[9:])
    reader.take(batch, 10)
    assert [json.loads(record.value or b"")["data"] for record in batch.records] == [{"id": "3", "b": "4"}]


def test_a_growing_file_whose_lines_end_in_carriage_returns_is_unusable() -> None:
    reader = parser(csv_with_header())
    reader.feed(b"id,b")
    reader.feed(b"\r")
    with pytest.raises(UnusableFile, match=r"in/a\.ndjson: found carriage returns and no newline; expected lines that"):
        reader.feed(b"1,2\r")
    reader = parser(csv_with_header())
    reader.feed(b"id,b\r")
    reader.feed(b"\n")
    reader.take(Batch(), 10)
    reader.feed(b"1,2\r3")
    reader.feed(b"\n")
    assert reader.splitter.waiting


@pytest.mark.parametrize("portion", [1, 16])
def test_a_file_that_is_no_text_is_unusable(portion: int) -> None:
    content = gzip.compress(b'{"id":"1"}\n' * 10)
    for form in (Ndjson("id", None), csv_format()):
        reader, batch = parser(form), Batch()
        with pytest.raises(UnusableFile, match=r"in/a\.ndjson: found gzip-compressed data; expected text in UTF-8"):
            feed_all(reader, batch, content, portion)
        assert not batch


def test_lines_before_the_beginning_make_no_events_also_those_above_the_limit() -> None:
    content = b'{"id":"0"}\n' + b"x" * 300 + b'\n{"id":"1"}\n'
    reader, batch = parser(Ndjson("id", None)), Batch()
    reader.begin = content.index(b'{"id":"1"}')
    for at in range(0, len(content), 50):
        reader.feed(content[at : at + 50])
        take_all(reader, batch)
    assert offsets(batch) == [reader.begin]
    assert (batch.rows, batch.skipped, batch.rejects, reader.line) == (3, 2, [], 3)
    assert not reader.truncated
