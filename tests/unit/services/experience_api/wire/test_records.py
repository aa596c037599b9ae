import logging

import pytest

from services.experience_api.wire import records
from services.experience_api.wire.cursor import CursorCodec
from services.experience_api.wire.records import FrameEncoder
from tests.unit.services.experience_api.events import event
from tests.unit.services.experience_api.records import record

CODEC = CursorCodec("e", 2)


def cursors(frames: list[bytes]) -> list[tuple[int, ...]]:
    return [CODEC.decode(event(frame)["cursor"]) for frame in frames]


def test_each_cursor_is_the_vector_after_its_event() -> None:
    encoder = FrameEncoder(CODEC, (5, 10))
    [batch] = encoder.batches([record("a", 5), record("b", 12, 1), record("a", 7)])
    assert cursors(batch.frames) == [(6, 10), (6, 13), (8, 13)]
    assert batch.channels == [b"a", b"b", b"a"]
    assert (batch.partitions, batch.offsets) == ([0, 1, 0], [5, 12, 7])
    assert batch.size == sum(map(len, batch.frames))


def test_offsets_without_a_record_are_in_the_next_cursor() -> None:
    encoder = FrameEncoder(CODEC, (0, 0))
    encoder.advance({1: 9})
    [batch] = encoder.batches([record("a", 0)])
    assert cursors(batch.frames) == [(1, 9)]


def test_batches_are_limited_in_size_and_lose_nothing() -> None:
    encoder = FrameEncoder(CODEC, (0, 0))
    value = b'{"data":"%b"}' % (b"x" * 20_000)
    batches = list(encoder.batches([record("a", offset, value=value) for offset in range(10)]))
    assert [len(batch.frames) for batch in batches] == [4, 4, 2]
    assert [vector for batch in batches for vector in cursors(batch.frames)] == [
        (offset + 1, 0) for offset in range(10)
    ]


def test_no_records_give_no_batch() -> None:
    assert not list(FrameEncoder(CODEC, (0, 0)).batches([]))


def test_equal_channels_are_one_object() -> None:
    encoder = FrameEncoder(CODEC, (0, 0))
    [batch] = encoder.batches([record("ab", 0), record("ab", 1)])
    assert batch.channels[0] is batch.channels[1]


def test_a_malformed_record_is_skipped_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    encoder = FrameEncoder(CODEC, (0, 0))
    with caplog.at_level(logging.ERROR):
        [batch] = encoder.batches([record("a", 0, value=b"\xff"), record("a", 1)])
    assert cursors(batch.frames) == [(2, 0)]
    assert encoder.malformed == 1
    (entry,) = caplog.records
    assert entry.getMessage() == "skipping malformed record"
    fields = vars(entry)
    assert (fields["topic"], fields["partition"], fields["offset"]) == ("trelay.publish", 0, 0)
    assert "UTF-8" in fields["error"]


def test_the_number_of_shared_channel_names_is_limited() -> None:
    encoder = FrameEncoder(CODEC, (0, 0))
    for offset in range(records._NAMES_LIMIT + 1):
        assert len(list(encoder.batches([record(f"channel {offset}", offset)]))) == 1
    assert list(encoder._names) == [f"channel {records._NAMES_LIMIT}".encode()]
