import random
from collections.abc import Iterable

import pytest

from services.experience_api.wire.client_frames import ClientFrames
from tests.unit.services.experience_api.wire.masked import masked

INVALID = b"\x83\x80\0\0\0\0"
MESSAGE = masked(0x81, b"hello")
PIECES = masked(0x01, b"a") + masked(0x89, b"ping") + masked(0x00, b"") + masked(0x80, b"b")


def passed(pieces: Iterable[bytes]) -> bytes:
    """Return what aiohttp reads of these pieces."""
    frames = ClientFrames()
    return b"".join(map(frames.feed, pieces))


VALID = {
    "text": MESSAGE,
    "nothing": masked(0x82, b""),
    "of 125 bytes": masked(0x82, b"x" * 125),
    "of 126 bytes": masked(0x82, b"x" * 126),
    "of 65,535 bytes": masked(0x82, b"x" * 65_535),
    "of 65,536 bytes": masked(0x82, b"x" * 65_536),
    "fragments around a ping": PIECES,
    "a pong": masked(0x8A, b"x" * 125),
    "a Close frame": masked(0x88, b""),
    "with a code": masked(0x88, (1000).to_bytes(2, "big") + b"bye"),
}


@pytest.mark.parametrize("frames", VALID.values(), ids=VALID)
def test_valid_frames_are_passed_on_however_they_are_cut(frames: bytes, seed: int) -> None:
    rng = random.Random(seed)
    data = MESSAGE + frames
    assert passed([data]) == data
    cuts = sorted(rng.randrange(len(data)) for _ in range(20))
    assert passed(data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)) == data
    assert passed(data[at : at + 1] for at in range(len(data))) == data


COMPRESSED = {
    "text": masked(0xC1, b"\xaa\x56"),
    "binary": masked(0xC2, b"\x00"),
    "fragments around a ping": masked(0x41, b"a") + masked(0x89, b"") + masked(0x00, b"b") + masked(0x80, b"c"),
}


@pytest.mark.parametrize("frames", COMPRESSED.values(), ids=COMPRESSED)
def test_compressed_messages_are_passed_on_once_compression_was_negotiated(frames: bytes) -> None:
    assert ClientFrames(compression=True).feed(frames + MESSAGE) == frames + MESSAGE
    assert passed([frames]) == INVALID


NEVER_COMPRESSED = {
    "a continuation": (masked(0x41, b"a"), masked(0xC0, b"b")),
    "a ping": (b"", masked(0xC9, b"")),
    "a Close frame": (b"", masked(0xC8, b"")),
    "reserved bit 2 of a compressed message": (b"", masked(0xE1, b"")),
    "no mask": (b"", b"\xc1\x01\x00"),
}


@pytest.mark.parametrize(("valid", "invalid"), NEVER_COMPRESSED.values(), ids=NEVER_COMPRESSED)
def test_the_first_frame_of_a_message_alone_may_say_that_it_is_compressed(valid: bytes, invalid: bytes) -> None:
    assert ClientFrames(compression=True).feed(valid + invalid + MESSAGE) == valid + INVALID


def test_compressed_empty_messages_are_counted_like_empty_ones() -> None:
    flood = masked(0xC1, b"\x00") * 5000
    assert len(ClientFrames(compression=True).feed(flood)) < len(flood) / 2


INVALID_FRAMES = {
    "no mask": b"\x81\x05hello",
    "a ping without mask": b"\x89\x00",
    "reserved bit 1": masked(0xC1, b"x"),
    "reserved bit 2": masked(0xA1, b"x"),
    "reserved bit 3 of a ping": masked(0x99, b"x"),
    **{f"opcode {opcode}": masked(0x80 | opcode, b"") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "a fragmented ping": masked(0x09, b""),
    "a ping of 126 bytes": masked(0x89, b"x" * 126),
    "a continuation of nothing": masked(0x80, b"x"),
    "a message in a message": masked(0x01, b"") + masked(0x81, b"x"),
    "a length in two bytes instead of one": b"\x82\xfe\x00\x05\0\0\0\0hello",
    "a length in eight bytes instead of two": b"\x82\xff" + (65_535).to_bytes(8, "big") + b"\0\0\0\0",
    "a length of 2**63": b"\x82\xff" + (2**63).to_bytes(8, "big") + b"\0\0\0\0",
    "a Close frame of one byte": masked(0x88, b"x"),
    **{
        f"code {code}": masked(0x88, code.to_bytes(2, "big"))
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    },
}


@pytest.mark.parametrize("frames", INVALID_FRAMES.values(), ids=INVALID_FRAMES)
def test_an_invalid_frame_and_what_follows_is_replaced(frames: bytes) -> None:
    for pieces in ([MESSAGE + frames + MESSAGE], (bytes([byte]) for byte in MESSAGE + frames + MESSAGE)):
        found = passed(pieces)
        assert found.startswith(MESSAGE)
        assert found.endswith(INVALID)
        assert found.count(b"hello") <= 1 or MESSAGE not in found[len(MESSAGE) :]


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1014, 3000, 3999, 4000, 4999])
def test_codes_that_may_be_sent(code: int) -> None:
    frame = masked(0x88, code.to_bytes(2, "big"))
    assert passed([frame]) == frame


def test_what_follows_a_close_frame_is_dropped() -> None:
    close = masked(0x88, b"")
    assert passed([close + MESSAGE, MESSAGE]) == close


def test_a_flood_of_empty_frames_is_cut() -> None:
    pings = masked(0x89, b"") * 100_000
    assert len(passed([pings, pings])) == 1101 * 6


def test_bytes_of_messages_are_told_from_those_of_pongs() -> None:
    frames = ClientFrames()
    pong, fragment = masked(0x8A, b"pong"), masked(0x01, b"fragment")
    pieces = [pong, pong[:7], pong[7:], MESSAGE, pong, pong + MESSAGE, MESSAGE + pong, pong[:3], pong[3:] + MESSAGE]
    pieces += [MESSAGE[:1], MESSAGE[1:7], MESSAGE[7:9], MESSAGE[9:] + pong, fragment, pong, masked(0x80, b"end")]
    found = []
    for piece in pieces:
        frames.feed(piece)
        found.append(frames.message_bytes)
    first = [False, False, False, True, False, True, True, False, True]
    assert found == [*first, False, True, True, True, True, False, True]
