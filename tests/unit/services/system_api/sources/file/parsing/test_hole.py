"""Files that begin with a hole, because they were truncated while their writer went on at its old offset."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.file.parsing.delimited import Csv
from services.system_api.sources.file.parsing.identity import FileIdentity
from services.system_api.sources.file.parsing.ndjson import Ndjson
from services.system_api.sources.file.parsing.parser import Format, Parser, UnusableFile
from services.system_api.sources.source import Batch, EventBuilder
from shared.events.headers import PROVENANCE, unpack_provenance
from shared.runtime.clock import SYSTEM_CLOCK

LINES = b'{"id":"1"}\n{"id":"2"}\n'


def parser(form: Format | None = None, *, offset: int = 0, whole: bool = False) -> Parser:
    builder = EventBuilder("orders", "t", None, SYSTEM_CLOCK, random.Random(1))
    identity = FileIdentity("orders", "1.ab", "in/a.ndjson")
    return Parser(form or Ndjson("id", None), builder, identity, 64, offset=offset, whole=whole)


def feed(reader: Parser, *portions: bytes) -> Batch:
    batch = Batch(rows=0)
    for each in portions:
        reader.feed(each)
        reader.take(batch, 1000)
    assert batch.rows == len(batch.records) + len(batch.rejects) + batch.skipped
    return batch


def offsets(batch: Batch) -> list[int]:
    packed = [dict(record.headers)[PROVENANCE] for record in batch.records]
    return [int(unpack_provenance(each).id.rpartition(":")[2]) for each in packed]


@given(size=st.integers(16, 300), cuts=st.lists(st.integers(1, 320), max_size=4))
def test_the_lines_behind_a_hole_are_read_at_their_offsets(size: int, cuts: list[int]) -> None:
    content = bytes(size) + LINES
    places = [0, *sorted({cut for cut in cuts if cut >= 16}), len(content)]
    batch = feed(parser(), *[content[begin:end] for begin, end in itertools.pairwise(places)])
    assert (offsets(batch), batch.rejects) == ([size, size + 11], [])


def test_reading_resumes_in_the_middle_of_a_hole() -> None:
    reader = parser()
    assert feed(reader, bytes(100)) == Batch(rows=0)
    assert (reader.splitter.offset, reader.line) == (100, 0)
    assert offsets(feed(parser(offset=100), bytes(3) + LINES)) == [103, 114]


def test_zeros_elsewhere_are_no_hole() -> None:
    for content in (LINES + bytes(50) + LINES, b'{"id' + bytes(50) + b'":1}\n', bytes(3) + LINES):
        batch = feed(parser(), content)
        assert [reject.error.endswith("expected text") for reject in batch.rejects] == [True]
    assert [len(feed(parser(), LINES[:4], bytes(50) + LINES[4:]).rejects)] == [1]


def test_a_complete_file_and_one_with_a_header_have_no_hole() -> None:
    assert len(feed(parser(whole=True), bytes(50) + LINES).rejects) == 1
    csv = Csv("id", None, delimiter=",", quotes=True, header=True, columns=None, types={})
    with pytest.raises(UnusableFile, match="header: found a NUL byte"):
        feed(parser(csv), bytes(50) + b"id,b\n1,2\n")
