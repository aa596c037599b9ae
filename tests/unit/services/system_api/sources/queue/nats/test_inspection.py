"""Which streams and consumers are refused, and what became of a stream since the checkpoint."""

from datetime import UTC, datetime
from typing import Any

import pytest
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    ConsumerInfo,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamInfo,
    StreamState,
)

from services.system_api.sources.queue.nats.inspection import follow_stream, refuse_consumer, refuse_stream, removed
from services.system_api.sources.queue.nats.options import NatsSourceOptions, Risk
from services.system_api.sources.queue.positions import Mark
from shared.errors import SettingsError

CREATED = datetime(2026, 1, 2, tzinfo=UTC)


def options(**given: Any) -> NatsSourceOptions:
    return NatsSourceOptions.model_validate({"kind": "nats", "url": "nats://h", "stream": "S", "type": "t", **given})


def stream(first: int = 1, last: int = 10, *, created: datetime = CREATED, **config: Any) -> StreamInfo:
    given = {"retention": RetentionPolicy.LIMITS, "storage": StorageType.FILE, **config}
    state = StreamState(messages=last - first + 1, bytes=1, first_seq=first, last_seq=last, consumer_count=0)
    return StreamInfo(config=StreamConfig(name="S", **given), state=state, created=created)


def consumer(**config: Any) -> ConsumerInfo:
    return ConsumerInfo("c", "S", ConsumerConfig(**{"ack_policy": AckPolicy.EXPLICIT, **config}), CREATED)


@pytest.mark.parametrize(
    ("config", "risk"),
    [
        ({"storage": StorageType.MEMORY}, Risk.MEMORY_STORAGE),
        ({"no_ack": True}, Risk.NO_ACK),
        ({"discard": DiscardPolicy.NEW}, Risk.DISCARD_NEW),
    ],
)
def test_a_stream_that_loses_messages_is_refused_unless_that_is_accepted(config: dict[str, Any], risk: Risk) -> None:
    with pytest.raises(SettingsError, match=rf"stream: 'S' loses messages: .*accept: \[{risk}\]"):
        refuse_stream(stream(**config), options())
    refuse_stream(stream(**config), options(accept=[risk]))
    refuse_stream(stream(), options())


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"ack_policy": AckPolicy.NONE}, "ack_policy none"),
        ({"ack_policy": AckPolicy.ALL}, "ack_policy all"),
        ({"deliver_subject": "x"}, "pushes messages"),
        ({"headers_only": True}, "headers only"),
        ({"filter_subject": "a"}, "filters a; the source filters nothing"),
        ({"filter_subjects": ["a", "b"]}, "filters a, b"),
        ({"max_deliver": 5}, r"max_deliver: 5, not above max_deliveries \(5\)"),
        ({"inactive_threshold": 30.0}, "inactive_threshold: 30 s"),
    ],
)
def test_a_consumer_that_loses_messages_is_refused(config: dict[str, Any], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        refuse_consumer(consumer(**config), options())


def test_a_consumer_that_loses_nothing() -> None:
    refuse_consumer(consumer(max_deliver=-1), options())
    refuse_consumer(consumer(max_deliver=6), options())
    refuse_consumer(consumer(filter_subject="a"), options(filter="a"))
    refuse_consumer(consumer(max_deliver=2), options(accept=["max_deliver"]))


def mark(highest: int | None) -> Mark[int]:
    made: Mark[int] = Mark()
    made.begin(CREATED.isoformat(), highest)
    return made


@pytest.mark.parametrize(
    ("start", "last", "expected"), [("earliest", 10, None), ("latest", 10, 10), ("latest", 0, None)]
)
def test_a_first_opening_begins_where_the_settings_say(start: str, last: int, expected: int | None) -> None:
    made: Mark[int] = Mark()
    assert follow_stream(stream(last=last), made, options(start=start)) == []
    assert (made.epoch, made.mark) == (CREATED.isoformat(), expected)


def test_a_stream_that_was_created_again() -> None:
    made = mark(7)
    (loss,) = follow_stream(stream(created=datetime(2026, 2, 2, tzinfo=UTC)), made, options())
    assert "created again: what it held after sequence 7 is lost" in loss.text
    assert (made.mark, made.prefix) == (None, "r1.")


def test_a_stream_that_was_restored_from_an_older_state() -> None:
    made = mark(12)
    (loss,) = follow_stream(stream(last=10), made, options())
    assert "ends at sequence 10, and 12 was published" in loss.text
    assert (made.mark, made.prefix) == (10, "r1.")


def test_a_stream_whose_limits_removed_messages() -> None:
    made = mark(3)
    (loss,) = follow_stream(stream(first=6), made, options(filter="a"))
    assert "sequences 4 to 5 (some of them are not in 'a') were removed" in loss.text
    assert (made.mark, made.prefix) == (5, "")
    assert follow_stream(stream(first=6), made, options()) == []


@pytest.mark.parametrize("highest", [None, 5, 9])
def test_a_stream_that_goes_on(highest: int | None) -> None:
    made = mark(highest)
    assert follow_stream(stream(first=6), made, options()) == []
    assert made.mark == highest


def test_only_limits_lose_messages() -> None:
    assert removed(stream(first=6), 3, 20, options())
    assert "sequences 4 to 4 " in removed(stream(first=6), 3, 5, options())[0].text
    assert removed(stream(first=6, retention=RetentionPolicy.WORK_QUEUE), 3, 20, options()) == []
    assert removed(stream(first=4), 3, 20, options()) == []
    assert removed(stream(first=6), 3, 4, options()) == []
