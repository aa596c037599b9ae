import asyncio
import zlib

import pytest

from services.experience_api.stream.compressing import Compressing
from services.experience_api.wire.deflate import LARGE, CompressionOptions, Deflater, Key
from services.experience_api.wire.frames import text_frame

SMALL, BIG = text_frame(b"x" * 600), text_frame(b"y" * (LARGE + 1))


class CountedDeflater(Deflater):
    """Counts the compressions of large frames, and fails on demand."""

    def __init__(self) -> None:
        super().__init__(CompressionOptions(enabled=True))
        self.made: list[Key] = []
        self.fails = False

    def compressed(self, key: Key) -> bytes:
        if len(key[0]) > LARGE:
            self.made.append(key)
        if self.fails:
            raise zlib.error
        return super().compressed(key)


@pytest.fixture
def deflater() -> CountedDeflater:
    return CountedDeflater()


async def test_large_frames_are_compressed_once_for_all_that_wait(deflater: CountedDeflater) -> None:
    compressing = Compressing(deflater)
    found = await asyncio.gather(*(compressing.prepare([SMALL, BIG], {0, 15}) for _ in range(5)))
    assert found == [True] * 5
    assert deflater.made == [(BIG, 15)]
    assert len(compressing.join([BIG], 15)) < 1000
    assert not await compressing.prepare([SMALL, BIG], {15})


async def test_nothing_waits_without_large_frames_or_compression(deflater: CountedDeflater) -> None:
    compressing = Compressing(deflater)
    assert not await compressing.prepare([SMALL], {15})
    assert not await compressing.prepare([BIG], {0})
    assert deflater.made == []


async def test_one_that_no_longer_waits_takes_nothing_from_the_others(deflater: CountedDeflater) -> None:
    compressing = Compressing(deflater)
    tasks = [asyncio.ensure_future(compressing.prepare([BIG], {15})) for _ in range(2)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    assert await tasks[1]
    assert tasks[0].cancelled()
    assert deflater.made == [(BIG, 15)]


async def test_a_failure_is_raised_and_forgotten(deflater: CountedDeflater) -> None:
    compressing = Compressing(deflater)
    deflater.fails = True
    with pytest.raises(zlib.error):
        await compressing.prepare([BIG], {15})
    deflater.fails = False
    assert await compressing.prepare([BIG], {15})
