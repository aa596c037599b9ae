"""What topics are made with, and how one that is there can differ."""

import pytest

from shared.bus.kafka.batches import REQUEST_LIMIT
from shared.bus.kafka.topics import differences, settings_of
from shared.bus.protocol import TopicOptions

EVENTS = TopicOptions(name="t", partitions=4, retention_hours=1.5)
CHECKPOINTS = TopicOptions(name="c", partitions=1, retention_hours=None, compact=True)


def test_events_are_kept_for_their_time_and_then_deleted() -> None:
    settings = settings_of(EVENTS)
    assert (settings["cleanup.policy"], settings["retention.ms"]) == ("delete", "5400000")
    assert "min.insync.replicas" not in settings


def test_checkpoints_are_kept_for_ever_and_soon_cleaned() -> None:
    settings = settings_of(CHECKPOINTS)
    assert (settings["cleanup.policy"], settings["retention.ms"]) == ("compact", "-1")
    assert settings["min.cleanable.dirty.ratio"] == "0.1"


@pytest.mark.parametrize(("replicas", "least"), [(1, None), (2, None), (3, "2"), (5, "2")])
def test_with_three_replicas_two_must_have_a_record(replicas: int, least: str | None) -> None:
    settings = settings_of(EVENTS.model_copy(update={"replicas": replicas}))
    assert settings.get("min.insync.replicas") == least


@pytest.mark.parametrize("options", [EVENTS, CHECKPOINTS])
def test_a_topic_as_we_make_it_does_not_differ(options: TopicOptions) -> None:
    assert differences(options, options.partitions, settings_of(options)) == []


@pytest.mark.parametrize(
    ("options", "partitions", "change", "said"),
    [
        (EVENTS, 5, {}, "partitions is 5, the settings say 4"),
        (EVENTS, 4, {"cleanup.policy": "compact"}, "compact is True, the settings say False (cleanup.policy=compact)"),
        (CHECKPOINTS, 1, {"cleanup.policy": "compact,delete"}, "(cleanup.policy=compact,delete)"),
        (EVENTS, 4, {"retention.ms": "3600000"}, "retention_hours is 1.0, the settings say 1.5"),
        (EVENTS, 4, {"retention.ms": "-1"}, "retention_hours is None, the settings say 1.5"),
        (EVENTS, 4, {"max.message.bytes": "1048588"}, f"at least {REQUEST_LIMIT} is needed"),
    ],
)
def test_a_difference_is_said(options: TopicOptions, partitions: int, change: dict[str, str], said: str) -> None:
    [found] = differences(options, partitions, settings_of(options) | change)
    assert said in found


def test_more_room_than_needed_is_no_difference() -> None:
    assert differences(EVENTS, 4, settings_of(EVENTS) | {"max.message.bytes": "100000000"}) == []
