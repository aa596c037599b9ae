"""The configs that topics are created with, and how an existing topic can differ."""

import pytest

from services.process_api.state import partition_state
from shared.bus.kafka.batches import REQUEST_LIMIT
from shared.bus.kafka.topics import differences, topic_configs
from shared.bus.protocol import TopicOptions

EVENTS = TopicOptions(name="t", partitions=4, retention_hours=1.5)
CHECKPOINTS = TopicOptions(name="c", partitions=1, retention_hours=None, compact=True)


def test_events_are_kept_for_the_retention_and_then_deleted() -> None:
    configs = topic_configs(EVENTS)
    assert (configs["cleanup.policy"], configs["retention.ms"]) == ("delete", "5400000")
    assert "min.insync.replicas" not in configs


def test_checkpoints_are_kept_without_limit_and_compacted_soon() -> None:
    configs = topic_configs(CHECKPOINTS)
    assert (configs["cleanup.policy"], configs["retention.ms"]) == ("compact", "-1")
    assert configs["min.cleanable.dirty.ratio"] == "0.1"
    assert int(configs["delete.retention.ms"]) >= 2 * partition_state._MARK_AGE_MS


@pytest.mark.parametrize(("replicas", "least"), [(1, None), (2, None), (3, "2"), (5, "2")])
def test_with_three_replicas_two_must_be_in_sync(replicas: int, least: str | None) -> None:
    configs = topic_configs(EVENTS.model_copy(update={"replicas": replicas}))
    assert configs.get("min.insync.replicas") == least


@pytest.mark.parametrize("options", [EVENTS, CHECKPOINTS])
def test_a_topic_as_it_is_created_does_not_differ(options: TopicOptions) -> None:
    assert differences(options, options.partitions, topic_configs(options)) == []


@pytest.mark.parametrize(
    ("options", "partitions", "change", "text"),
    [
        (EVENTS, 5, {}, "partitions is 5, the settings say 4"),
        (EVENTS, 4, {"cleanup.policy": "compact"}, "compact is True, the settings say False (cleanup.policy=compact)"),
        (CHECKPOINTS, 1, {"cleanup.policy": "compact,delete"}, "(cleanup.policy=compact,delete)"),
        (EVENTS, 4, {"retention.ms": "3600000"}, "retention_hours is 1.0, the settings say 1.5"),
        (EVENTS, 4, {"retention.ms": "-1"}, "retention_hours is None, the settings say 1.5"),
        (EVENTS, 4, {"max.message.bytes": "1048588"}, f"at least {REQUEST_LIMIT} is needed"),
        (
            CHECKPOINTS,
            1,
            {"delete.retention.ms": "60000"},
            "delete.retention.ms is 60000, at least 86400000 is needed",
        ),
    ],
)
def test_a_difference_is_described(options: TopicOptions, partitions: int, change: dict[str, str], text: str) -> None:
    [found] = differences(options, partitions, topic_configs(options) | change)
    assert text in found


def test_a_higher_limit_is_no_difference() -> None:
    assert differences(EVENTS, 4, topic_configs(EVENTS) | {"max.message.bytes": "100000000"}) == []
