"""Which streams and consumers lose messages, and what became of a stream since the checkpoint. No I/O."""

from services.system_api.sources.queue.nats.client import (
    AckPolicy,
    ConsumerInfo,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamInfo,
)
from services.system_api.sources.queue.nats.options import NatsSourceOptions, Risk
from services.system_api.sources.queue.positions import Mark
from services.system_api.sources.source import Loss
from shared.errors import SettingsError


def refuse_stream(stream: StreamInfo, options: NatsSourceOptions) -> None:
    """Check that a stream loses no messages in a way that the settings do not accept.

    Raises:
        SettingsError: names the setting of the stream, and how to accept it.
    """
    config = stream.config
    found = {
        Risk.MEMORY_STORAGE: "storage: memory" if config.storage == StorageType.MEMORY else None,
        Risk.NO_ACK: "no_ack: true" if config.no_ack else None,
        Risk.DISCARD_NEW: "discard: new" if config.discard == DiscardPolicy.NEW else None,
    }
    _refuse(f"stream: {options.stream!r}", found, options)


def refuse_consumer(consumer: ConsumerInfo, options: NatsSourceOptions) -> None:
    """Check that a consumer delivers everything, and loses nothing in a way that the settings do not accept.

    Raises:
        SettingsError: names the setting of the consumer, and what to do.
    """
    config, place = consumer.config, f"consumer: {consumer.name!r} of stream {options.stream!r}"
    if config.deliver_subject:
        raise SettingsError(f"{place} pushes messages; expected a pull consumer: delete it, or name another one")
    if config.ack_policy != AckPolicy.EXPLICIT:
        raise SettingsError(
            f"{place} has ack_policy {AckPolicy(config.ack_policy).value}, which loses what is delivered when Trelay"
            " stops; expected explicit: delete it, or name another one"
        )
    if config.headers_only:
        raise SettingsError(f"{place} delivers headers only: delete it, or name another one")
    subjects = [*(config.filter_subjects or ()), *([config.filter_subject] if config.filter_subject else ())]
    if subjects != ([options.filter] if options.filter else []):
        raise SettingsError(
            f"{place} filters {', '.join(subjects) or 'nothing'}; the source filters {options.filter or 'nothing'}:"
            " delete it, or name another one"
        )
    deliver = config.max_deliver or -1
    threshold = config.inactive_threshold
    found = {
        Risk.MAX_DELIVER: f"max_deliver: {deliver}, not above max_deliveries ({options.max_deliveries})"
        if 0 < deliver <= options.max_deliveries
        else None,
        Risk.INACTIVE_THRESHOLD: f"inactive_threshold: {threshold:g} s" if threshold else None,
    }
    _refuse(place, found, options)


def _refuse(place: str, found: dict[Risk, str | None], options: NatsSourceOptions) -> None:
    unaccepted = {risk: text for risk, text in found.items() if text is not None and risk not in options.accept}
    if unaccepted:
        listed = "; ".join(f"{text} ({risk})" for risk, text in unaccepted.items())
        raise SettingsError(
            f"{place} loses messages: {listed}. Change it, or accept that: accept: [{', '.join(unaccepted)}]"
        )


def follow_stream(stream: StreamInfo, mark: Mark[int], options: NatsSourceOptions) -> list[Loss]:
    """Move the mark to where reading continues in this stream; return what is lost.

    The time of its creation tells a stream from another one of its name.
    """
    created, state = stream.created.isoformat() if stream.created else "", stream.state
    place = options.in_words
    if not mark.epoch:
        mark.begin(created, state.last_seq if options.begins_at_end(options.stream) and state.last_seq else None)
        return []
    if mark.epoch != created:
        before = mark.highest
        mark.replace(created)
        return [
            Loss(
                f"{place} was deleted and created again: what it held after sequence {before} is lost; the new one is"
                " read from its beginning"
            )
        ]
    highest = mark.highest
    if highest is None:
        return []
    if state.last_seq < highest:
        mark.truncate(state.last_seq)
        return [
            Loss(
                f"{place} ends at sequence {state.last_seq}, and {highest} was published: it was restored from an older"
                " state; what comes after that is read as new"
            )
        ]
    lost = removed(stream, highest, state.last_seq + 1, options)
    if lost:
        mark.reset(state.first_seq - 1)
    return lost


def removed(stream: StreamInfo, after: int, before: int, options: NatsSourceOptions) -> list[Loss]:
    """Return the loss of the sequences between two, if the limits of the stream have removed them unread."""
    first = stream.state.first_seq
    if stream.config.retention != RetentionPolicy.LIMITS or first <= after + 1 or before <= after + 1:
        return []
    last = min(first, before) - 1
    filtered = f" (some of them are not in {options.filter!r})" if options.filter else ""
    return [
        Loss(
            f"{options.in_words}: sequences {after + 1} to {last}{filtered} were removed by its limits before they were"
            " read"
        )
    ]
