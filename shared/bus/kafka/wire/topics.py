"""CreateTopics, and DescribeConfigs of topics."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest

_TOPIC_RESOURCE = 2


class NewTopic(NamedTuple):
    """A topic to create."""

    name: str
    partitions: int
    replicas: int
    configs: Mapping[str, str]


def create_topics(topics: Iterable[NewTopic], timeout: float) -> Any:
    """Create topics; `timeout` in seconds, until the brokers know them."""
    forms: list[tuple[Any, ...]] = [
        (topic.name, topic.partitions, topic.replicas, [], list(topic.configs.items())) for topic in topics
    ]
    return CreateTopicsRequest(forms, int(timeout * 1000), validate_only=False)


def describe_topic_configs(topics: Collection[str], keys: Collection[str]) -> Any:
    """Request some configs of topics."""
    return DescribeConfigsRequest([(_TOPIC_RESOURCE, topic, list(keys)) for topic in topics])
