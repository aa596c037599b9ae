"""Bodies in pieces, compressed or not, and their limit."""

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from shared.errors import Malformed, TooLarge
from shared.http.bodies import BodyReader, UnsupportedEncoding, encoding_of


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.compress,
    "x-gzip": lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:]),
    "deflate": zlib.compress,
    " DEFLATE ": raw_deflate,
}


def read(encoding: str, body: bytes, size: int = 7, limit: int = 1 << 20) -> bytes:
    reader = BodyReader(encoding, limit)
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])
    return reader.body()


@given(st.sampled_from(sorted(ENCODERS)), st.binary(max_size=300), st.integers(1, 50))
def test_a_body_is_read_whatever_its_pieces(encoding: str, data: bytes, size: int) -> None:
    assert read(encoding, ENCODERS[encoding](data), size) == data


def test_an_empty_piece_and_an_empty_body_are_nothing() -> None:
    reader = BodyReader("gzip", 10)
    reader.feed(b"")
    assert reader.body() == b""


async def test_the_whole_body_is_read_as_it_arrives() -> None:
    pieces = [b"ab", b"c", b""]

    async def next_piece() -> bytes:
        return pieces.pop(0)

    assert await BodyReader("", 3).whole(next_piece) == b"abc"
    pieces = [b"abcd", b""]
    with pytest.raises(TooLarge):
        await BodyReader("", 3).whole(next_piece)
    assert pieces == [b""], "nothing behind the limit is read"


@pytest.mark.parametrize("encoding", sorted(ENCODERS))
def test_the_limit_counts_what_is_decompressed(encoding: str) -> None:
    encode = ENCODERS[encoding]
    assert read(encoding, encode(b"x" * 100), limit=100) == b"x" * 100
    with pytest.raises(TooLarge, match="exceeds the limit of 100 bytes"):
        read(encoding, encode(b"x" * 101), limit=100)


def test_a_decompression_bomb_takes_no_memory() -> None:
    bomb = gzip.compress(bytes(100 << 20))
    reader = BodyReader("gzip", 1000)
    tracemalloc.start()
    with pytest.raises(TooLarge):
        reader.feed(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    assert reader.beginning == bytes(1000)


def test_an_unknown_encoding_is_an_error() -> None:
    with pytest.raises(Malformed, match="content encoding 'br'; expected gzip, deflate"):
        BodyReader("br", 10)


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"plain text", "cannot be decompressed"), (gzip.compress(b"text")[:-9], "ends in the middle of its compression")],
)
def test_a_broken_body_is_an_error(body: bytes, error: str) -> None:
    with pytest.raises(Malformed, match=error):
        read("gzip", body)


@pytest.mark.parametrize(
    ("headers", "encoding"),
    [
        ([], ""),
        ([("Content-Encoding", " GZIP")], "gzip"),
        ([("Content-Encoding", "identity")], ""),
        ([("Content-Encoding", "gzip"), ("Content-Encoding", "identity")], "gzip"),
        ([("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")], "gzip, gzip"),
        ([("Content-Encoding", "br,gzip")], "br, gzip"),
        ([("Transfer-Encoding", "chunked")], ""),
        ([("Transfer-Encoding", "gzip, Chunked")], "gzip"),
        ([("Transfer-Encoding", "gzip, chunked"), ("Content-Encoding", "deflate")], "deflate, gzip"),
        ([("Content-Encoding", "gzip" + "," * 500)], "gzip" + "," * 196),
    ],
)
def test_the_encodings_of_a_body_are_all_named(headers: list[tuple[str, str]], encoding: str) -> None:
    assert encoding_of(CIMultiDict(headers)) == encoding


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "deflate, gzip"])
def test_an_encoding_that_is_not_read_is_told_from_a_broken_body(encoding: str) -> None:
    with pytest.raises(UnsupportedEncoding, match="expected gzip, deflate"):
        BodyReader(encoding, 10)


def test_members_without_content_end() -> None:
    with pytest.raises(TooLarge, match="the compressed body exceeds the limit of 1000 bytes"):
        read("gzip", gzip.compress(b"") * 200, limit=1000)


def test_what_cannot_be_compressed_may_be_as_large_as_the_limit() -> None:
    content = random.Random(3).randbytes(100_000)
    assert read("gzip", gzip.compress(content), 4096, limit=100_000) == content
