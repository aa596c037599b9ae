"""Lines and rows: every byte in exactly one piece, however the bytes are divided into portions."""

import csv
import io
import random
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.system_api.sources.file.parsing.rows import RowCutter
from services.system_api.sources.file.parsing.splitter import Cut, Splitter, cut_lines

LIMIT = 64
CUTS: dict[str, Callable[[], Cut]] = {"lines": lambda: cut_lines, "rows": lambda: RowCutter(b",")}

# Mostly the bytes that matter to a splitter, so that short examples reach edge cases.
CONTENT = st.lists(
    st.sampled_from([b"\n", b'"', b",", b"a", b"\r\n", b'""', b'"b\nc"', b"\xc3\xa9", b"\xff", b"\0", b"x" * 70])
    | st.binary(max_size=5),
    max_size=40,
).map(b"".join)


def pieces_of(content: bytes, cut: Cut, sizes: list[int]) -> list[tuple[int, int, bytes]]:
    """Feed the content in portions; return offset, size and what is kept of every piece."""
    splitter, found, at = Splitter(cut, LIMIT), list[tuple[int, int, bytes]](), 0

    def take() -> None:
        if (oversized := splitter.take_oversized()) is not None:
            found.append((oversized[0], oversized[1].size, oversized[1].head))
        while splitter.waiting:
            offset = splitter.offset
            for piece in splitter.take(3):
                found.append((offset, len(piece), piece[: LIMIT if len(piece) > LIMIT else None]))
                offset += len(piece) + 1

    for size in [*sizes, len(content)]:
        splitter.feed(content[at : at + size])
        at = min(at + size, len(content))
        take()
    splitter.finish()
    take()
    assert splitter.offset == len(content)
    assert splitter.incomplete == 0
    return found


@pytest.mark.parametrize("kind", CUTS)
@given(content=CONTENT, sizes=st.lists(st.integers(0, 20), max_size=20))
@example(content=b'"' + b"x" * 63 + b"\n" + b"y" * 10 + b'"\n', sizes=[70])
@example(content=b"x" * 65, sizes=[64, 1])
def test_every_byte_is_in_one_piece_and_portions_do_not_matter(kind: str, content: bytes, sizes: list[int]) -> None:
    whole = pieces_of(content, CUTS[kind](), [])
    assert pieces_of(content, CUTS[kind](), sizes) == whole
    at = 0
    for offset, size, kept in whole:
        assert offset == at
        assert content[offset : offset + size].startswith(kept)
        at += size
        if at < len(content):
            assert content[at : at + 1] == b"\n"
            at += 1
    assert at == len(content)


@given(st.lists(st.lists(st.text(st.sampled_from('a,"\n\r é'), max_size=6), min_size=1, max_size=4), max_size=6))
def test_rows_are_those_of_the_standard_library(rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    content = text.getvalue().encode()
    expected = []
    for row in rows:
        one = io.StringIO()
        csv.writer(one, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(row)
        expected.append(one.getvalue().encode()[:-1])
    if all(len(row) <= LIMIT for row in expected):
        assert [
            content[offset : offset + size] for offset, size, _ in pieces_of(content, CUTS["rows"](), [])
        ] == expected


def test_a_stray_quote_affects_one_line() -> None:
    content = b'1,"open\n' + b"".join(b"%d,fine\n" % n for n in range(2, 40))
    found = [kept for _, _, kept in pieces_of(content, CUTS["rows"](), [])]
    assert found == content.split(b"\n")[:-1]


def test_a_quote_within_text_is_an_ordinary_character() -> None:
    content = b'1,6" pipe\n2,"a ""b"" c"\n'
    assert [kept for _, _, kept in pieces_of(content, CUTS["rows"](), [])] == [b'1,6" pipe', b'2,"a ""b"" c"']


def test_a_huge_line_is_not_buffered() -> None:
    splitter = Splitter(cut_lines, 1000)
    for _ in range(10_000):
        splitter.feed(b"x" * 1000)
        assert not splitter.waiting
    splitter.feed(b"y\nnext\n")
    found = splitter.take_oversized()
    assert found is not None
    offset, oversized = found
    assert (offset, oversized.size, len(oversized.head)) == (0, 10_000_001, 1000)
    assert splitter.take(10) == [b"next"]


@pytest.mark.parametrize(
    ("content", "plain"),
    [
        (b"a\nb\n", True),
        ("é\n".encode(), True),
        (b"a\n" + "é".encode()[:1], True),
        (b"\xff\n", False),
        (b"a\r\n", False),
        (b"\0\n", False),
        (b"x" * 65 + b"\n", False),
    ],
)
def test_plain_pieces_are_recognised(content: bytes, plain: bool) -> None:
    splitter = Splitter(cut_lines, LIMIT)
    splitter.feed(content)
    assert splitter.plain is plain


def test_long_content_is_split_in_linear_time() -> None:
    rows = random.Random(1)
    content = b"".join(
        b'%d,"%b"\n' % (n, b"\n".join([b"x" * rows.randrange(20)] * rows.randrange(3))) for n in range(20_000)
    )
    splitter = Splitter(RowCutter(b","), 1_048_576)
    splitter.feed(content)
    assert len(splitter.take(30_000)) == 20_000
