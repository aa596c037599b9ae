"""Writes the topics of the component `strimzi` from those that Trelay creates: `python -m tests.k8s.topics`."""

from shared.bus.kafka.topics import topic_configs
from shared.bus.topics import TopicsOptions
from tests.k8s.rendering import MANIFESTS

PATH = MANIFESTS / "components" / "strimzi" / "topics.yaml"

_HEADER = "# Written by `python -m tests.k8s.topics`: the topics as Trelay creates them with bus.topics.replicas: 3.\n"
_TOPIC = """\
apiVersion: kafka.strimzi.io/v1
kind: KafkaTopic
metadata:
  name: {name}
  labels: {{strimzi.io/cluster: trelay}}
spec:
  partitions: {partitions}
  replicas: {replicas}
  config:
"""


def text() -> str:
    """Return the content of the file."""
    documents = []
    for topic in TopicsOptions(replicas=3).all():
        head = _TOPIC.format(name=topic.name, partitions=topic.partitions, replicas=topic.replicas)
        documents.append(head + "".join(f"    {key}: {value}\n" for key, value in topic_configs(topic).items()))
    return _HEADER + "---\n".join(documents)


if __name__ == "__main__":
    PATH.write_text(text())
