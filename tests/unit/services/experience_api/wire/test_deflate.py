import random
import zlib

import pytest

from services.experience_api.wire.deflate import LARGE, PLAIN, CompressionOptions, Deflater
from services.experience_api.wire.frames import PING, message_of, text_frame

TEXT = b'{"id":"%d","data":{"colour":"blue","shape":"round","note":"blue and round"}}'
OFFER = ["permessage-deflate; client_max_window_bits"]


def inflated(frame: bytes, window: int) -> bytes:
    """Return the message of a compressed frame, as a client with this window reads it."""
    assert frame[0] == 0xC1, "one frame of text with RSV1"
    decompressor = zlib.decompressobj(-window)
    return decompressor.decompress(message_of(frame) + b"\x00\x00\xff\xff")


def text(size: int, number: int = 0) -> bytes:
    """Return a frame that can be compressed and repeats itself over the whole of its length."""
    rng = random.Random(number)
    block = rng.randbytes(400).hex().encode()
    return text_frame((block * (size // len(block) + 1))[:size])


def deflater(**options: object) -> Deflater:
    return Deflater(CompressionOptions.model_validate({"enabled": True, **options}))


@pytest.mark.parametrize("window", range(9, 16))
@pytest.mark.parametrize("size", [300, 511, 512, 513, 4096, 65_000])
def test_a_client_with_its_window_reads_the_same_message(size: int, window: int) -> None:
    frame = text(size)
    form = deflater().join([frame], window)
    if form == frame:
        assert window < 10, "only with a small window it is no smaller"
    else:
        assert len(form) < len(frame)
        assert inflated(form, window) == message_of(frame)


@pytest.mark.parametrize("level", [1, 9])
def test_each_frame_is_compressed_once_for_all_connections(level: int) -> None:
    one = deflater(level=level)
    frames = [text(600, number) for number in range(3)]
    first = one.join(frames, 15)
    assert [one.join(frames, window) for window in (15, 12, 10)] == [first] * 3, "each fits into these windows"
    assert one.counts.frames == 3
    assert one.counts.bytes_before == sum(map(len, frames))
    assert one.counts.bytes_after == len(first)
    assert one.join(frames, 9) != first
    assert one.counts.frames == 6, "the windows of 512 bytes need others"


def test_connections_without_compression_get_the_frames_themselves() -> None:
    frames = [text(600, number) for number in range(2)]
    assert deflater().join(frames, PLAIN) == b"".join(frames)
    assert deflater().join(frames[:1], PLAIN) is frames[0]


def test_small_frames_stay_plain() -> None:
    frame = text(300)
    assert deflater(min_bytes=len(frame) + 1).join([frame], 15) == frame
    assert deflater(min_bytes=len(frame)).join([frame], 15) != frame
    assert deflater().join([PING], 15) == PING


def test_what_cannot_be_compressed_stays_plain() -> None:
    frame = text_frame(random.Random(1).randbytes(400))
    one = deflater()
    assert one.join([frame], 15) == frame
    assert one.join([frame], 15) == frame
    assert one.counts.frames == 1, "it is tried once"


def test_frames_of_one_connection_are_not_kept() -> None:
    one = deflater()
    for _ in range(2):
        assert inflated(one.join([text(600)], 15, keep=False), 15) == message_of(text(600))
    assert one.counts.frames == 2


def test_a_large_frame_is_plain_until_its_form_is_there() -> None:
    one = deflater()
    small, large = text(600), text(LARGE + 1)
    assert one.join([large], 15) == large
    assert list(one.large([small, large], {PLAIN, 12, 15})) == [(large, 12), (large, 15)]
    for key in [(large, 12), (large, 15), (large, 15)]:
        one.keep(key, one.compressed(key))
    assert list(one.large([small, large], {12, 15})) == []
    assert inflated(one.join([large], 12), 12) == message_of(large)
    assert inflated(one.join([large], 15), 15) == message_of(large)


def test_the_oldest_forms_are_dropped() -> None:
    one = Deflater(CompressionOptions(enabled=True), cache_bytes=3000)
    for number in range(10):
        one.join([text(600, number)], 15)
    one.join([text(600, 9)], 15)
    assert one.counts.frames == 10
    one.join([text(600, 0)], 15)
    assert one.counts.frames == 11


class TestAgreement:
    def test_is_off_by_default(self) -> None:
        assert CompressionOptions().agree(OFFER, "") is None

    def test_accepts_an_offer(self) -> None:
        agreed = CompressionOptions(enabled=True).agree(
            OFFER, "Mozilla/5.0 AppleWebKit/537.36 Chrome/130.0 Safari/537.36"
        )
        assert agreed is not None
        assert agreed.window == 15
        assert CompressionOptions(enabled=True).agree([], "curl") is None

    @pytest.mark.parametrize(
        "user_agent",
        [
            "Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.2 Mobile Safari/604.1",
            "Shop/41 CFNetwork/1327.0.4 Darwin/21.2.0",
        ],
        ids=["Safari", "app"],
    )
    def test_leaves_out_clients_that_fail(self, user_agent: str) -> None:
        assert CompressionOptions(enabled=True).agree(OFFER, user_agent) is None
        options = CompressionOptions(enabled=True, except_user_agents=("",))
        assert options.agree(OFFER, user_agent) is not None
