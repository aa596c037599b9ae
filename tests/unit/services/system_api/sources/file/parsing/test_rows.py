"""CSV rows: where each ends, and what a stray quote costs."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.file.parsing.rows import SUSPICIOUS_LINES, RowCutter
from services.system_api.sources.file.parsing.splitter import Splitter


def cut(content: bytes, *, columns: int = 0) -> tuple[list[bytes], bytes]:
    return RowCutter(b",", columns)(content)


def lines(*numbers: int) -> bytes:
    return b"".join(b"%d,good\n" % number for number in numbers)


def split(content: bytes, *, finish: bool = True) -> list[bytes]:
    """Return all pieces of a file with a header."""
    splitter, found = Splitter(RowCutter(b","), 1_000_000), list[bytes]()
    splitter.feed(content)
    found += splitter.take(10**6)
    if finish:
        splitter.finish()
        found += splitter.take(10**6)
    return found


HEADER = b"id,txt\n"


def test_a_quoted_newline_belongs_to_its_field() -> None:
    assert cut(b'id,"a\nb"\n1,"c\n\nd"\r\n2,"e"') == ([b'id,"a\nb"', b'1,"c\n\nd"\r'], b'2,"e"')


def test_the_number_of_columns_comes_from_the_first_row_that_is_not_blank() -> None:
    cutter = RowCutter(b",")
    cutter(b" \r\n\n")
    assert cutter.columns == 0
    cutter(b'"a,b",c,\n')
    assert cutter.columns == 3
    cutter(b"1,2\n")
    assert cutter.columns == 3


@pytest.mark.parametrize(
    ("bad", "behind"),
    [
        (b'1,"open\n', lines(2, 3) + b'4,"quoted"\n'),
        (b'1,"open\n', b'2,"quoted"\n'),
        (b'1,"open\n', b'2,"two\nlines"\n3,good\n'),
        (b'"1,open\n', b'"2","quoted"\n3,good\n'),
        (b'"1\n1","open\n', b'2,"quoted"\n'),
    ],
)
def test_a_stray_quote_before_a_quoted_field_costs_one_row(bad: bytes, behind: bytes) -> None:
    found = split(HEADER + bad + behind)
    assert found[1] + b"\n" == bad
    assert found[2:] == cut(behind, columns=2)[0]


def test_a_stray_quote_is_recognised_by_the_rows_behind_it() -> None:
    few = HEADER + b'1,"open\n' + lines(*range(SUSPICIOUS_LINES - 1))
    assert split(few, finish=False) == [b"id,txt"]
    content = few + lines(1000)
    assert split(content, finish=False) == content.split(b"\n")[:-1]


def test_a_stray_quote_that_a_later_one_closes_costs_one_row() -> None:
    content = HEADER + b'1,"open\n' + lines(*range(2000)) + b'2000,"\n2001,good\n'
    assert split(content)[:2004] == content.split(b"\n")[:-1]


def test_text_of_many_lines_is_one_field() -> None:
    rng = random.Random(1)
    text = "\n".join(", ".join(["word"] * rng.choice([1, 3, 4])) for _ in range(1000)).encode()
    assert split(HEADER + b'1,"' + text + b'"\n2,b\n') == [b"id,txt", b'1,"' + text + b'"', b"2,b"]


def test_a_row_whose_field_of_many_lines_is_right_and_another_is_wrong_is_one_piece() -> None:
    bad = b'1,"text\n2,no row\nend","bad"x'
    assert split(b"a,b,c\n" + bad + b"\n2,b,c\n") == [b"a,b,c", bad, b"2,b,c"]
    bad = b'1,"text\nend"x'
    assert split(HEADER + bad + b"\n2,b\n") == [b"id,txt", bad, b"2,b"]


EMBEDDED = b'1,"' + lines(*range(SUSPICIOUS_LINES + 50)) + b'end"'


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_a_field_of_a_whole_file_may_hold_rows(ending: bytes) -> None:
    content = HEADER + EMBEDDED + ending + lines(2)
    assert RowCutter(b",", whole=True)(content)[0] == [b"id,txt", EMBEDDED + ending[:-1], b"2,good"]
    assert len(split(content)) > SUSPICIOUS_LINES, "a file that grows does not wait for the closing quote"


@pytest.mark.parametrize(
    "closing",
    [b'2000,"\n', b'2000,"quoted"\n', b'2000,"quoted",x\n', b'"2000",quoted\n', b'2000,x"y\n'],
    ids=["another stray quote", "a quoted field", "a long row", "a quoted key", "text behind it"],
)
def test_a_stray_quote_of_a_whole_file_costs_one_row(closing: bytes) -> None:
    content = HEADER + b'1,"open\n' + lines(*range(2000)) + closing + lines(2001)
    splitter = Splitter(RowCutter(b",", whole=True), 1_000_000)
    splitter.feed(content)
    found = splitter.take(10**6)
    splitter.finish()
    found += splitter.take(10**6)
    assert found[:2002] == content.split(b"\n")[:2002]


def test_a_quote_of_a_whole_file_that_is_never_closed_costs_one_row() -> None:
    content = HEADER + b'1,"open\n' + lines(*range(2000))
    splitter = Splitter(RowCutter(b",", whole=True), 1000)
    splitter.feed(content)
    found = splitter.take(10**6)
    assert found == content.split(b"\n")[: len(found)], "the row became too large"
    assert len(found) > 1800
    splitter = Splitter(RowCutter(b",", whole=True), 1_000_000)
    splitter.feed(content)
    assert splitter.take(10**6) == [b"id,txt"]
    splitter.finish()
    assert splitter.take(10**6) == content.split(b"\n")[1:]


def test_lines_of_a_single_column_are_no_sign_of_a_stray_quote() -> None:
    text = b'"' + b"word\n" * 1000 + b'"'
    assert split(b"text\n" + text + b"\nlast\n") == [b"text", text, b"last"]


def test_an_open_quote_is_abandoned_only_when_all_lines_behind_it_are_rows() -> None:
    splitter = Splitter(RowCutter(b",", 2), 1000)
    splitter.feed(b'1,"open\n2,goo')
    assert splitter.open_lines == 1
    assert not splitter.abandon_open_quote(), "no complete line follows"
    splitter.feed(b"d\n3,go")
    assert splitter.abandon_open_quote()
    assert splitter.take(10) == [b'1,"open', b"2,good"]
    assert (splitter.incomplete, splitter.open_lines) == (4, 0)
    splitter.feed(b'od\n4,"open\nno row\n5,good\n')
    assert splitter.take(10) == [b"3,good"]
    assert not splitter.abandon_open_quote()
    splitter.feed(b'"\n')
    assert splitter.take(10) == [b'4,"open\nno row\n5,good\n"']


def test_the_line_behind_decides_once_it_is_complete() -> None:
    cutter = RowCutter(b",", 2)
    assert cutter(b'1,"op\n3,"x') == ([b'1,"op'], b'3,"x')
    assert cutter(b'1,"op\nb"x\n3,') == ([b'1,"op\nb"x'], b"3,")
    assert cutter(b'1,"op\nb"x') == ([], b'1,"op\nb"x')


def test_an_open_quote_is_not_that_of_an_earlier_field() -> None:
    cutter = RowCutter(b",", 2)
    rest = b'"1\n1","open\n2,good\n'
    assert cutter(rest) == ([], rest)
    assert cutter.abandoned_end(rest) == rest.index(b"\n2,")
    assert cutter.abandoned_end(b"3,") is None


@pytest.mark.parametrize("whole", [False, True])
@given(
    content=st.lists(
        st.sampled_from([b"1,a\n", b'"', b",", b"\n", b"b", b'2,"c\nd"\n', b"3,e\n" * (SUSPICIOUS_LINES + 1), b"\r\n"]),
        max_size=20,
    ).map(b"".join),
    sizes=st.lists(st.integers(0, 300), max_size=8),
)
def test_portions_do_not_matter(content: bytes, sizes: list[int], *, whole: bool) -> None:
    at_once = RowCutter(b",", 2, whole=whole)(content)
    pieces, rest, at = list[bytes](), b"", 0
    cutter = RowCutter(b",", 2, whole=whole)
    for size in [*sizes, len(content)]:
        more, rest = cutter(rest + content[at : at + size])
        pieces += more
        at += size
    assert (pieces, rest) == at_once
