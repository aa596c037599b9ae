"""Where to continue in a partition, and what of it is lost. No I/O."""

from collections.abc import Mapping

from services.system_api.sources.queue.kafka.options import KafkaSourceOptions, Risk
from services.system_api.sources.queue.positions import Mark
from services.system_api.sources.source import Loss
from shared.errors import SettingsError

CONFIGS = ("cleanup.policy", "unclean.leader.election.enable")
"""The configs of a topic that `refuse_risks` reads."""


def refuse_risks(topic: str, configs: Mapping[str, str | None], options: KafkaSourceOptions) -> None:
    """Check that a topic loses no record in a way that the settings do not accept.

    Raises:
        SettingsError: names the config, and how to accept it.
    """
    found = {
        Risk.COMPACTED: "compact" in (configs.get("cleanup.policy") or ""),
        Risk.UNCLEAN_ELECTION: configs.get("unclean.leader.election.enable") == "true",
    }
    names = dict(zip(found, CONFIGS, strict=True))
    unaccepted = [risk for risk, is_found in found.items() if is_found and risk not in options.accept]
    if unaccepted:
        listed = "; ".join(f"{names[risk]}: {configs[names[risk]]} ({risk})" for risk in unaccepted)
        raise SettingsError(
            f"{'topics' if options.topics else 'pattern'}: {topic!r} loses records that were not read: {listed}."
            f" Change it, or accept that: accept: [{', '.join(unaccepted)}]"
        )


def follow(place: str, mark: Mark[int], epoch: str, bounds: tuple[int, int], *, at_end: bool) -> list[Loss]:
    """Move the mark of a partition to where reading continues; return what is lost.

    `place` is the partition in words; `epoch` the id of its topic now; `bounds` its earliest offset and its end. A
    partition without a checkpoint begins at one of them.
    """
    earliest, end = bounds
    if not mark.epoch:
        mark.begin(epoch, (end if at_end else earliest) - 1)
        return []
    if mark.epoch != epoch:
        before = mark.mark
        mark.replace(epoch)
        mark.mark = earliest - 1
        return [
            Loss(
                f"{place}: the topic was deleted and created again: what it held after offset {before} is lost; the new"
                " one is read from its beginning"
            )
        ]
    return overtaken(place, mark, earliest)


def overtaken(place: str, mark: Mark[int], earliest: int) -> list[Loss]:
    """Move the mark to the earliest offset that is left, if that is beyond it; return the loss."""
    first = next_offset(mark)
    if earliest <= first:
        return []
    mark.reset(earliest - 1)
    return [
        Loss(
            f"{place}: offsets {first} to {earliest - 1} ({earliest - first} records at most) were removed by its"
            " retention before they were read"
        )
    ]


def truncated(place: str, mark: Mark[int], diverging: int) -> list[Loss]:
    """Move the mark below the offset from which on the log is another one than before; return the loss.

    What is written there from now on gets other ids than what was there before.
    """
    last = next_offset(mark) - 1
    if diverging > last:
        return []
    mark.truncate(diverging - 1)
    return [
        Loss(
            f"{place}: the log was truncated: offsets {diverging} to {last} were published and are no longer in it;"
            f" what comes from offset {diverging} on is read as new"
        )
    ]


def next_offset(mark: Mark[int]) -> int:
    """Return the offset to read next."""
    return 0 if mark.mark is None else mark.mark + 1


def pass_markers(mark: Mark[int], position: int) -> bool:
    """Move the mark up to a position to read next; return whether it has moved.

    What is unpublished below that position is not visible: markers that end transactions, records of aborted ones, and
    what compaction has removed.
    """
    if position <= next_offset(mark) or mark.above:
        return False
    mark.mark = position - 1
    return True
