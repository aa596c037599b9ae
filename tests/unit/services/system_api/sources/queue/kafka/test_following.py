"""Where reading continues in a partition that was read before, and what is reported as lost."""

from typing import Any

import pytest

from services.system_api.sources.queue.kafka.following import (
    follow,
    next_offset,
    overtaken,
    pass_markers,
    refuse_risks,
    truncated,
)
from services.system_api.sources.queue.kafka.options import KafkaSourceOptions
from services.system_api.sources.queue.positions import Mark
from shared.errors import SettingsError


def mark(position: int | None = 9, epoch: str = "id") -> Mark[int]:
    made: Mark[int] = Mark()
    made.begin(epoch, position)
    made.changed = False
    return made


def options(**given: Any) -> KafkaSourceOptions:
    return KafkaSourceOptions.model_validate({"kind": "kafka", "servers": "h:1", "topics": ["o"], "type": "t"} | given)


@pytest.mark.parametrize(("at_end", "expected"), [(False, 3), (True, 20)])
def test_a_partition_without_a_checkpoint_begins_at_an_end_that_is_saved(at_end: bool, expected: int) -> None:
    new: Mark[int] = Mark()
    assert follow("p", new, "id", (3, 20), at_end=at_end) == []
    assert (next_offset(new), new.epoch, new.changed) == (expected, "id", True)


def test_a_partition_continues_after_its_mark() -> None:
    known = mark()
    assert follow("p", known, "id", (10, 20), at_end=True) == []
    assert next_offset(known) == 10
    assert not known.changed
    assert next_offset(mark(None)) == 0


def test_a_topic_that_was_created_again_is_read_from_its_beginning_with_other_ids() -> None:
    known = mark()
    (loss,) = follow("p", known, "other", (2, 20), at_end=True)
    assert "deleted and created again: what it held after offset 9 is lost" in loss.text
    assert (next_offset(known), known.prefix, known.epoch) == (2, "r1.", "other")


def test_retention_that_overtakes_is_a_loss_that_names_the_offsets() -> None:
    known = mark()
    (loss,) = follow("p", known, "id", (15, 20), at_end=False)
    assert "offsets 10 to 14 (5 records at most) were removed by its retention" in loss.text
    assert (next_offset(known), known.prefix, known.changed) == (15, "", True)
    assert overtaken("p", known, 15) == []


def test_a_truncated_log_is_a_loss_and_gives_other_ids() -> None:
    known = mark()
    (loss,) = truncated("p", known, 4)
    assert "offsets 4 to 9 were published and are no longer in it" in loss.text
    assert (next_offset(known), known.prefix) == (4, "r1.")
    assert truncated("p", known, 4) == [], "nothing that was published is above it"


def test_markers_move_the_mark() -> None:
    known = mark()
    assert not pass_markers(known, 10)
    assert pass_markers(known, 12)
    assert next_offset(known) == 12
    known.add(20, contiguous=False)
    assert not pass_markers(known, 30), "something below may still come"


@pytest.mark.parametrize(
    ("configs", "risks"),
    [
        ({"cleanup.policy": "compact,delete", "unclean.leader.election.enable": "false"}, "compacted"),
        ({"cleanup.policy": "delete", "unclean.leader.election.enable": "true"}, "unclean_election"),
        ({"cleanup.policy": "compact", "unclean.leader.election.enable": "true"}, "compacted, unclean_election"),
    ],
)
def test_a_topic_that_loses_records_is_refused_unless_that_is_accepted(configs: dict[str, str], risks: str) -> None:
    with pytest.raises(SettingsError, match=rf"^topics: 'o' loses records .* accept: \[{risks}\]"):
        refuse_risks("o", configs, options())
    with pytest.raises(SettingsError, match=r"^pattern: 'o' loses records"):
        refuse_risks("o", configs, options(topics=None, pattern="o"))
    refuse_risks("o", configs, options(accept=risks.split(", ")))


def test_other_topics_are_not_refused() -> None:
    refuse_risks("o", {"cleanup.policy": "delete", "unclean.leader.election.enable": "false"}, options())
    refuse_risks("o", {}, options())
