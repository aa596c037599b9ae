"""Creates topics, checks the configs of those that exist, and finds their earliest and end offsets."""

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from shared.bus.kafka.batches import REQUEST_LIMIT
from shared.bus.kafka.client.cluster import Cluster, TopicMetadata
from shared.bus.kafka.client.connections import Broker
from shared.bus.kafka.client.errors import (
    LOST_CONNECTION,
    NONE,
    TOPIC_ALREADY_EXISTS,
    Retriable,
    StaleMetadata,
    error_for_code,
)
from shared.bus.kafka.wire.fetch import UNKNOWN_EPOCH
from shared.bus.kafka.wire.offsets import list_offsets
from shared.bus.kafka.wire.topics import NewTopic, create_topics, describe_topic_configs
from shared.bus.protocol import TopicOptions
from shared.errors import SettingsError
from shared.runtime.tasks import together

_EARLIEST = -2
_END = -1
_NO_OFFSET = -1
_COMMITTED_ONLY = 1
_UNCOMMITTED_TOO = 0
_UNLIMITED = "-1"
_MS_AN_HOUR = 3_600_000
_REPLICAS_OF_SAFE_TOPICS = 3
_CHECKED = ("cleanup.policy", "retention.ms", "delete.retention.ms", "max.message.bytes")
_SEGMENT_BYTES = 16 * 1024 * 1024
_DELETIONS_MS = 24 * _MS_AN_HOUR
"""How long a compacted topic keeps the deletion of a key, as the bus in PostgreSQL does: a replica that has its state
on disk reads on from where it was, and must miss none. Otherwise what was deleted would be back."""


def topic_configs(options: TopicOptions) -> dict[str, str]:
    """Return the configs that a topic is created with."""
    hours = options.retention_hours
    configs = {
        "cleanup.policy": "compact" if options.compact else "delete",
        "retention.ms": _UNLIMITED if hours is None else str(int(hours * _MS_AN_HOUR)),
        "retention.bytes": _UNLIMITED,
        "max.message.bytes": str(REQUEST_LIMIT),
    }
    if options.compact:
        # Delete older values soon, so that reading the latest ones stays fast: the log is compacted when a tenth of it
        # is obsolete, and only closed segments are.
        configs |= {"min.cleanable.dirty.ratio": "0.1", "segment.bytes": str(_SEGMENT_BYTES)}
        configs["delete.retention.ms"] = str(_DELETIONS_MS)  # the default may be another one in this cluster
    if options.replicas >= _REPLICAS_OF_SAFE_TOPICS:
        # An acknowledged record is on two brokers; one may be unavailable.
        configs["min.insync.replicas"] = "2"
    return configs


def differences(options: TopicOptions, partitions: int, configs: Mapping[str, str]) -> list[str]:
    """Describe how an existing topic differs from the settings, by the names in `TopicOptions`."""
    found = []
    if partitions != options.partitions:
        found.append(f"partitions is {partitions}, the settings say {options.partitions}")
    compact = configs["cleanup.policy"] == "compact"
    if compact != options.compact or configs["cleanup.policy"] not in {"compact", "delete"}:
        found.append(
            f"compact is {compact}, the settings say {options.compact} (cleanup.policy={configs['cleanup.policy']})"
        )
    kept = configs["retention.ms"]
    if not options.compact and kept != topic_configs(options)["retention.ms"]:
        hours = None if kept == _UNLIMITED else int(kept) / _MS_AN_HOUR
        found.append(f"retention_hours is {hours}, the settings say {options.retention_hours} (retention.ms={kept})")
    if options.compact and int(deletions := configs["delete.retention.ms"]) < _DELETIONS_MS:
        found.append(f"delete.retention.ms is {deletions}, at least {_DELETIONS_MS} is needed")
    if int(configs["max.message.bytes"]) < REQUEST_LIMIT:
        found.append(f"max.message.bytes is {configs['max.message.bytes']}, at least {REQUEST_LIMIT} is needed")
    return found


async def ensure_topics(cluster: Cluster, topics: Iterable[TopicOptions]) -> None:
    """Do what `Bus.ensure_topics` says."""
    wanted = {options.name: options for options in topics}
    existing = await cluster.refresh(wanted)
    missing = [options for name, options in wanted.items() if name not in existing]
    if missing:
        created = await _create(cluster, missing)
        existing |= await _until_ready(cluster, [options.name for options in missing])
        wanted = {name: options for name, options in wanted.items() if name not in created}
    if wanted:
        await _check(cluster, wanted, existing)


async def bounds(
    cluster: Cluster, name: str, *, end: Literal["committed", "uncommitted"] = "committed"
) -> dict[int, tuple[int, int]]:
    """Return the earliest offset and the end of each partition; the uncommitted end is after open transactions."""
    isolation = _COMMITTED_ONLY if end == "committed" else _UNCOMMITTED_TOO

    async def attempt() -> dict[int, tuple[int, int]]:
        topic = await cluster.topic(name)
        try:
            earliest, ends = await together(
                _offsets(cluster, topic, _EARLIEST, isolation), _offsets(cluster, topic, _END, isolation)
            )
        except (*LOST_CONNECTION, StaleMetadata):
            cluster.invalidate([name])
            raise
        return {number: (earliest[number], ends[number]) for number in topic.leaders}

    return await cluster.retry(f"find the offsets of {name}", attempt)


async def offsets_at(cluster: Cluster, name: str, timestamp_ms: int) -> dict[int, int | None]:
    """Return the first offset of each partition whose record has at least this timestamp; None where there is none."""

    async def attempt() -> dict[int, int]:
        # Negative times are not times for Kafka: -1 is the end, -2 the beginning.
        return await _offsets(cluster, await cluster.topic(name), max(0, timestamp_ms), _COMMITTED_ONLY)

    found = await cluster.retry(f"find the offsets of {name} at a time", attempt)
    return {number: None if offset == _NO_OFFSET else offset for number, offset in found.items()}


async def _offsets(cluster: Cluster, topic: TopicMetadata, timestamp: int, isolation: int) -> dict[int, int]:
    by_leader: dict[Broker, list[tuple[int, int]]] = {}
    for number in topic.leaders:
        epoch = topic.leader_epochs.get(number, UNKNOWN_EPOCH)
        by_leader.setdefault(topic.leader(number), []).append((number, epoch))
    requests = [
        cluster.send(leader, list_offsets(topic.name, partitions, timestamp, isolation))
        for leader, partitions in by_leader.items()
    ]
    found = {}
    for response in await together(*requests):
        for _, described in response.topics:
            for number, code, _, offset, _ in described:
                if code != NONE:
                    raise error_for_code(code, f"find the offsets of {topic.name}/{number}")
                found[number] = offset
    return found


async def _create(cluster: Cluster, topics: Collection[TopicOptions]) -> set[str]:
    """Create topics; return those that no other process has created meanwhile."""
    wanted = [
        NewTopic(options.name, options.partitions, options.replicas, topic_configs(options)) for options in topics
    ]
    request = create_topics(wanted, cluster.options.request_timeout)
    created: set[str] = set()

    async def attempt() -> None:
        response = await cluster.send(await cluster.controller(), request)
        for name, code, message in response.topic_errors:
            if code == NONE:
                created.add(name)
            elif code != TOPIC_ALREADY_EXISTS:
                raise _creation_error(code, name, message)

    await cluster.retry("create topics", attempt)
    return created


def _creation_error(code: int, name: str, message: str | None) -> Exception:
    error = error_for_code(code, f"create topic {name}")
    if type(error) in {Retriable, StaleMetadata} or not message:
        return error
    return type(error)(f"{error}: {message}")


async def _until_ready(cluster: Cluster, names: Collection[str]) -> dict[str, TopicMetadata]:
    """Wait until a broker knows new topics and they have leaders."""

    async def attempt() -> dict[str, TopicMetadata]:
        found = await cluster.refresh(names)
        if len(found) < len(set(names)) or any(None in topic.leaders.values() for topic in found.values()):
            raise Retriable(f"new topics are not ready yet: {', '.join(names)}")
        return found

    return await cluster.retry("wait for new topics", attempt)


async def _check(cluster: Cluster, wanted: Mapping[str, TopicOptions], existing: Mapping[str, TopicMetadata]) -> None:
    configs = await described_configs(cluster, wanted, _CHECKED)
    faults = [
        f"topic {name}: {'; '.join(found)}"
        for name, options in wanted.items()
        if (found := differences(options, len(existing[name].leaders), configs[name]))
    ]
    if faults:
        raise SettingsError("\n".join(faults))


async def described_configs(
    cluster: Cluster, names: Collection[str], keys: Collection[str]
) -> dict[str, dict[str, str]]:
    """Return some configs of topics.

    Raises:
        Unauthorized: the account may not describe them.
        Unavailable: no broker answers.
    """
    request = describe_topic_configs(names, keys)

    async def attempt() -> dict[str, dict[str, str]]:
        response = await cluster.send_to_any(request)
        found = {}
        for code, _, _, name, entries in response.resources:
            if code != NONE:
                raise error_for_code(code, f"read the configs of topic {name}")
            found[name] = {entry[0]: entry[1] for entry in entries}
        return found

    return await cluster.retry("read the configs of topics", attempt)
