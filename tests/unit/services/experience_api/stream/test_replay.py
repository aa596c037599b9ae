"""A replay alone: from memory, from the bus, ahead of its replica and beyond the end of the log."""

import pytest

from services.experience_api.hub import filters
from services.experience_api.hub.audience import interest_in
from services.experience_api.hub.filters import COUNTS
from services.experience_api.stream.replay import Progress, Replay
from tests.unit.services.experience_api.records import record
from tests.unit.services.experience_api.stream.replay_model import CODEC, Log, Replica, decoded, everything


@pytest.fixture
def log() -> Log:
    return Log()


def replica_with(log: Log, *, limit: int = 100_000, events: int = 10, batch: int = 20) -> Replica:
    """Return a replica that has read some events of channels a and b."""
    replica = Replica(log, limit)
    for _ in range(events):
        log.publish("a")
        log.publish("b")
    for partition in (0, 1):
        while replica.positions[partition] < log.ends[partition]:
            replica.feed(partition, batch)
    return replica


def test_a_replay_at_the_head_is_live_at_once(log: Log) -> None:
    replica = replica_with(log)
    replay = Replay(replica.history, replica.history.head, everything)
    assert replay.take(1000) == ([], Progress.LIVE)
    assert replay.missing() == {}
    assert not replay.ahead
    assert replay.lag == 0


def test_the_lag_counts_what_this_replica_has_read_and_the_subscriber_has_not_been_served(log: Log) -> None:
    replay = Replay(replica_with(log).history, (3, 12, 0), everything)
    assert replay.lag == 7  # of the first partition; the subscriber is ahead in the second


def test_a_replay_that_is_ahead_nowhere_takes_the_shared_frames(log: Log) -> None:
    replica = replica_with(log)
    replay = Replay(replica.history, (3, 0, 0), everything)
    kept = replica.history.block_at(0)
    assert kept is not None
    frames, progress = replay.take(10**6)
    assert all(frame is shared for frame, shared in zip(frames, kept.frames[3:], strict=True))
    assert progress is Progress.LIVE


def test_replays_evaluate_each_filter_once_on_each_event(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "_MEMO_BYTES", 0)
    replica = replica_with(log)
    interest, before = interest_in(["a"], {"a": "$event.id != 'x'"}), COUNTS.evaluations
    for vector in ((0, 0, 0), (3, 0, 0), (0, 12, 0)):  # the last one is ahead in the second partition
        frames, _ = Replay(replica.history, vector, interest.matches, interest.wants, interest.selecting).take(10**6)
        assert frames
    assert COUNTS.evaluations == before + 10


def test_a_replay_passes_what_another_one_has_taken(log: Log) -> None:
    replica = replica_with(log)
    one, other = (Replay(replica.history, replica.history.head, everything) for _ in range(2))
    assert one.place is None
    for replay in (one, other):
        replay.take(1)
    assert one.place == other.place == one.end
    log.publish("a")
    replica.feed(0, 1)
    frames, _ = one.take(1000)
    assert len(frames) == 1
    other.pass_all()
    assert (one.place, one.cursor) == (other.place, other.cursor)
    assert other.take(1000) == ([], Progress.LIVE)
    assert Replay(replica.history, (100, 0, 0), everything).place is None


def test_the_frames_of_a_replay_that_is_ahead_carry_both_vectors(log: Log) -> None:
    replica = replica_with(log)
    replay = Replay(replica.history, (8, 5, 0), everything)
    vectors = [decoded(frame) for frame in replay.take(10**6)[0]]
    assert vectors[:3] == [("0/8", (9, 5, 0)), ("0/9", (10, 5, 0)), ("1/5", (10, 6, 0))]


@pytest.mark.parametrize("vector", [(3, 0, 0), (8, 5, 0)], ids=["behind", "ahead"])
def test_events_that_do_not_pass_a_filter_move_the_cursor_alone(log: Log, vector: tuple[int, ...]) -> None:
    replica = replica_with(log)
    wanted = [decoded(frame) for frame in Replay(replica.history, vector, everything).take(10**6)[0]]
    replay = Replay(replica.history, vector, everything, lambda channel, frame: channel == b"b" or b"0/9" in frame)
    frames, progress = replay.take(10**6)
    assert [decoded(frame) for frame in frames] == [each for each in wanted if each[0][0] == "1" or each[0] == "0/9"]
    assert progress is Progress.LIVE
    assert replay.cursor == CODEC.encode(replica.history.head)


@pytest.mark.parametrize("ahead", [0, 7])
def test_the_budget_limits_what_is_taken_and_nothing_is_skipped(log: Log, ahead: int) -> None:
    replica = replica_with(log, limit=40_000, events=100)  # blocks of about 5,000 bytes
    replay = Replay(replica.history, (0, ahead, 0), everything)
    taken: list[bytes] = []
    progress = Progress.TAKE
    while progress is Progress.TAKE:
        frames, progress = replay.take(100)
        assert 1 <= len(frames) <= 60
        taken += frames
    assert progress is Progress.LIVE
    assert [decoded(frame)[0] for frame in taken] == [
        f"{partition}/{number}" for partition, first in ((0, 0), (1, ahead)) for number in range(first, 100)
    ]


def test_a_step_is_short_if_few_events_match(log: Log) -> None:
    replica = replica_with(log, limit=4_000_000, events=10_000, batch=500)
    replay = Replay(replica.history, (0, 0, 0), lambda channel: channel == b"other")
    steps = 0
    while (found := replay.take(10_000)) != ([], Progress.LIVE):
        assert found == ([], Progress.TAKE)
        steps += 1
    assert steps >= 2


def test_a_replay_that_is_ahead_of_this_replica_waits_for_it(log: Log) -> None:
    replica = replica_with(log)
    replay = Replay(replica.history, (12, 10, 0), everything)
    assert replay.take(1000) == ([], Progress.WAIT)
    assert replay.ahead
    for _ in range(4):
        log.publish("a")
    replica.feed(0, 20)
    frames, progress = replay.take(1000)
    assert [decoded(frame) for frame in frames] == [("0/12", (13, 10, 0)), ("0/13", (14, 10, 0))]
    assert progress is Progress.LIVE


def test_only_partitions_that_memory_has_dropped_are_missing(log: Log) -> None:
    replica = replica_with(log, limit=1024, events=2000, batch=300)
    tail = replica.history.tail
    assert tail[0] == 2000
    replay = Replay(replica.history, (1, tail[1] + 5, 0), everything)
    assert replay.missing() == {0: 1}
    assert replay.needs([0, 1])
    assert not replay.needs([1, 2])
    assert replay.take(1000) == ([], Progress.READ_LOG)


def test_malformed_records_of_the_bus_are_skipped(log: Log) -> None:
    replica = replica_with(log, limit=1024, events=2000, batch=300)
    replay = Replay(replica.history, (0, 0, 0), everything)
    frames = replay.add([record("a", 0, value=b"\xff"), record("a", 1)], {0: 5})
    assert [decoded(frame) for frame in frames] == [("0/1", (2, 0, 0))]
    assert replay.missing()[0] == 5


def test_a_record_read_twice_from_the_bus_is_sent_once(log: Log) -> None:
    replica = replica_with(log, limit=1024, events=2000, batch=300)
    replay = Replay(replica.history, (0, 0, 0), everything)
    assert len(replay.add([record("a", 0), record("a", 1)], {})) == 2
    assert [decoded(frame)[0] for frame in replay.add([record("a", 1), record("a", 2)], {})] == ["0/2"]


def test_a_cursor_beyond_the_end_of_the_log_is_moved_back(log: Log) -> None:
    replica = replica_with(log)
    replay = Replay(replica.history, (12, 10, 0), everything)
    assert replay.beyond({0: 10, 1: 10, 2: 0}) == [0]
    replay.skip(0, 10)
    assert CODEC.decode(replay.cursor.decode()) == (10, 10, 0)
    assert replay.take(1000) == ([], Progress.LIVE)


def test_a_replay_from_memory_skips_channels_that_do_not_match(log: Log) -> None:
    replica = Replica(log, 100_000)
    for channel in ("a", "d", "b", "a"):
        log.publish(channel)
    for partition in (0, 1):
        replica.feed(partition, 20)
    replay = Replay(replica.history, (0, 1, 0), lambda channel: channel != b"d")
    frames, progress = replay.take(10**6)
    assert [decoded(frame)[0] for frame in frames] == ["0/0", "0/2"]
    assert progress is Progress.LIVE


@pytest.mark.parametrize("first", [0, 1, 4])
def test_other_channels_are_received_from_the_cursor_on(log: Log, first: int) -> None:
    """All events of `a` are in partition 0, and those of `b` in partition 1."""
    replica = replica_with(log, limit=40_000, events=100)
    replay = Replay(replica.history, (0, 0, 0), lambda channel: channel == b"a")
    before: list[bytes] = []
    for _ in range(first):
        before += replay.take(100)[0]
    vector = CODEC.decode(replay.cursor.decode())
    replay.select(lambda channel: channel == b"b")
    after: list[bytes] = []
    progress = Progress.TAKE
    while progress is Progress.TAKE:
        frames, progress = replay.take(100)
        after += frames
    assert [decoded(frame)[0] for frame in before] == [f"0/{number}" for number in range(vector[0])]
    assert [decoded(frame)[0] for frame in after] == [f"1/{number}" for number in range(vector[1], 100)]


def test_records_of_the_bus_that_do_not_pass_a_filter_move_the_cursor_alone(log: Log) -> None:
    replay = Replay(replica_with(log).history, (0, 0, 0), everything, lambda _channel, frame, *_: b"0/1" in frame)
    values = (b'{"id":"0/0"}', b'{"id":"0/1"}', b"not an event", b'{"id":"0/3"}')
    frames = replay.add([record("a", offset, value=value) for offset, value in enumerate(values)], {})
    assert [decoded(frame) for frame in frames] == [("0/1", (2, 0, 0))]
    assert replay.cursor == CODEC.encode((4, 0, 0))
