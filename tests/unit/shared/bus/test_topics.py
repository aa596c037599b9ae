"""The topics of a deployment."""

from shared.bus.topics import TopicsOptions


def test_the_topics_and_their_retention() -> None:
    topics = {topic.name: topic for topic in TopicsOptions(partitions=6, replicas=3, retention_hours=24).all()}
    assert set(topics) == {
        "trelay.ingest",
        "trelay.publish",
        "trelay.checkpoints",
        "trelay.dead-letter",
        "trelay.dead-letter-decisions",
        "trelay.inbound",
        "trelay.pipelines",
        "trelay.process-status",
        "trelay.state",
        "trelay.takeovers",
        "trelay.watermarks",
        "trelay.audit",
    }
    assert [name for name, topic in topics.items() if topic.compact] == [
        "trelay.checkpoints",
        "trelay.state",
        "trelay.pipelines",
        "trelay.dead-letter-decisions",
    ]
    assert topics["trelay.checkpoints"].retention_hours is None
    assert (
        topics["trelay.publish"].partitions
        == topics["trelay.state"].partitions
        == topics["trelay.ingest"].partitions
        == 6
    )
    assert {topic.replicas for topic in topics.values()} == {3}
    assert topics["trelay.dead-letter"].retention_hours == 24 * 90


def test_the_largest_event_leaves_room_for_the_cursor() -> None:
    assert TopicsOptions().largest_frame == 2**20
    for partitions in (1, 4, 1000):
        topics = TopicsOptions(partitions=partitions, largest_frame=200_000)
        assert 200_000 - 12 * partitions - 40 < topics.event_limit < 200_000


def test_the_names_of_all_topics_have_the_prefix() -> None:
    assert all(topic.name.startswith("blue.") for topic in TopicsOptions(prefix="blue").all())
