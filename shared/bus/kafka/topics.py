"""Topics: made with the right settings, or checked against them; where they begin and end."""

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from shared.bus.kafka.batches import REQUEST_LIMIT
from shared.bus.kafka.client.cluster import Cluster, TopicView
from shared.bus.kafka.client.connections import Broker
from shared.bus.kafka.client.errors import LOST_CONNECTION, NONE, TOPIC_EXISTS, Moved, Passing, of_code
from shared.bus.kafka.wire.fetch import UNKNOWN_EPOCH
from shared.bus.kafka.wire.offsets import list_offsets
from shared.bus.kafka.wire.topics import NewTopic, create_topics, describe_topic_configs
from shared.bus.protocol import TopicOptions
from shared.errors import SettingsError
from shared.runtime.tasks import together

_EARLIEST = -2
_END = -1
_COMMITTED_ONLY = 1
_UNCOMMITTED_TOO = 0
_FOR_EVER = "-1"
_MS_AN_HOUR = 3_600_000
_SAFE_FROM_REPLICAS = 3
_SMALL_SEGMENT = 16 * 1024 * 1024


def settings_of(options: TopicOptions) -> dict[str, str]:
    """Return what a topic is made with."""
    hours = options.retention_hours
    settings = {
        "cleanup.policy": "compact" if options.compact else "delete",
        "retention.ms": _FOR_EVER if hours is None else str(int(hours * _MS_AN_HOUR)),
        "retention.bytes": _FOR_EVER,
        "max.message.bytes": str(REQUEST_LIMIT),
    }
    if options.compact:
        # What was overwritten goes soon, so that reading the latest values stays short: the log is cleaned when a
        # tenth of it could go, and only closed segments are.
        settings |= {"min.cleanable.dirty.ratio": "0.1", "segment.bytes": str(_SMALL_SEGMENT)}
    if options.replicas >= _SAFE_FROM_REPLICAS:
        # An acknowledged record is on two brokers; one may be away.
        settings["min.insync.replicas"] = "2"
    return settings


def differences(options: TopicOptions, partitions: int, settings: Mapping[str, str]) -> list[str]:
    """Say how an existing topic differs from what is asked for, in the words of `TopicOptions`."""
    found = []
    if partitions != options.partitions:
        found.append(f"partitions is {partitions}, the settings say {options.partitions}")
    compact = settings["cleanup.policy"] == "compact"
    if compact != options.compact or settings["cleanup.policy"] not in {"compact", "delete"}:
        found.append(
            f"compact is {compact}, the settings say {options.compact} (cleanup.policy={settings['cleanup.policy']})"
        )
    kept = settings["retention.ms"]
    if not options.compact and kept != settings_of(options)["retention.ms"]:
        hours = None if kept == _FOR_EVER else int(kept) / _MS_AN_HOUR
        found.append(f"retention_hours is {hours}, the settings say {options.retention_hours} (retention.ms={kept})")
    if int(settings["max.message.bytes"]) < REQUEST_LIMIT:
        found.append(f"max.message.bytes is {settings['max.message.bytes']}, at least {REQUEST_LIMIT} is needed")
    return found


async def ensure_topics(cluster: Cluster, topics: Iterable[TopicOptions]) -> None:
    """See `Bus.ensure_topics`."""
    wanted = {options.name: options for options in topics}
    there = await cluster.refresh(wanted)
    missing = [options for name, options in wanted.items() if name not in there]
    if missing:
        made = await _create(cluster, missing)
        there |= await _appeared(cluster, [options.name for options in missing])
        wanted = {name: options for name, options in wanted.items() if name not in made}
    if wanted:
        await _check(cluster, wanted, there)


async def bounds(
    cluster: Cluster, name: str, *, end: Literal["committed", "uncommitted"] = "committed"
) -> dict[int, tuple[int, int]]:
    """Return the earliest offset and the end of each partition; the uncommitted end lies behind open transactions."""
    isolation = _COMMITTED_ONLY if end == "committed" else _UNCOMMITTED_TOO

    async def attempt() -> dict[int, tuple[int, int]]:
        topic = await cluster.topic(name)
        try:
            earliest, ends = await together(
                _offsets(cluster, topic, _EARLIEST, isolation), _offsets(cluster, topic, _END, isolation)
            )
        except (*LOST_CONNECTION, Moved):
            cluster.forget([name])
            raise
        return {number: (earliest[number], ends[number]) for number in topic.leaders}

    return await cluster.persist(f"asking where {name} ends", attempt)


async def _offsets(cluster: Cluster, topic: TopicView, moment: int, isolation: int) -> dict[int, int]:
    by_leader: dict[Broker, list[tuple[int, int]]] = {}
    for number in topic.leaders:
        by_leader.setdefault(topic.leader(number), []).append((number, topic.epochs.get(number, UNKNOWN_EPOCH)))
    requests = [
        cluster.ask(leader, list_offsets(topic.name, asked, moment, isolation)) for leader, asked in by_leader.items()
    ]
    found = {}
    for answer in await together(*requests):
        for _, partitions in answer.topics:
            for number, code, _, offset, _ in partitions:
                if code != NONE:
                    raise of_code(code, f"asking where {topic.name}/{number} ends")
                found[number] = offset
    return found


async def _create(cluster: Cluster, topics: Collection[TopicOptions]) -> set[str]:
    """Make topics; return those that nobody else had made meanwhile."""
    wanted = [NewTopic(options.name, options.partitions, options.replicas, settings_of(options)) for options in topics]
    request = create_topics(wanted, cluster.options.request_timeout)
    made: set[str] = set()

    async def attempt() -> None:
        answer = await cluster.ask(await cluster.controller(), request)
        for name, code, message in answer.topic_errors:
            if code == NONE:
                made.add(name)
            elif code != TOPIC_EXISTS:
                raise _refusal(code, name, message)

    await cluster.persist("making topics", attempt)
    return made


def _refusal(code: int, name: str, message: str | None) -> Exception:
    error = of_code(code, f"making topic {name}")
    if type(error) in {Passing, Moved} or not message:
        return error
    return type(error)(f"{error}: {message}")


async def _appeared(cluster: Cluster, names: Collection[str]) -> dict[str, TopicView]:
    """Wait until new topics are known to the brokers and have leaders."""

    async def attempt() -> dict[str, TopicView]:
        found = await cluster.refresh(names)
        if len(found) < len(set(names)) or any(None in topic.leaders.values() for topic in found.values()):
            raise Passing(f"new topics are not ready yet: {', '.join(names)}")
        return found

    return await cluster.persist("waiting for new topics", attempt)


async def _check(cluster: Cluster, wanted: Mapping[str, TopicOptions], there: Mapping[str, TopicView]) -> None:
    settings = await _settings(cluster, wanted)
    faults = [
        f"topic {name}: {'; '.join(found)}"
        for name, options in wanted.items()
        if (found := differences(options, len(there[name].leaders), settings[name]))
    ]
    if faults:
        raise SettingsError("\n".join(faults))


async def _settings(cluster: Cluster, names: Collection[str]) -> dict[str, dict[str, str]]:
    request = describe_topic_configs(names, ["cleanup.policy", "retention.ms", "max.message.bytes"])

    async def attempt() -> dict[str, dict[str, str]]:
        answer = await cluster.ask_any(request)
        found = {}
        for code, _, _, name, entries in answer.resources:
            if code != NONE:
                raise of_code(code, f"asking for the settings of topic {name}")
            found[name] = {entry[0]: entry[1] for entry in entries}
        return found

    return await cluster.persist("asking for the settings of topics", attempt)
