"""What the settings of queues accept, and what they refuse with a reason."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.system_api.sources.queue.options import QueueSourceOptions
from services.system_api.sources.queue.redis.options import RedisSourceOptions


def options(**given: Any) -> QueueSourceOptions:
    return QueueSourceOptions.model_validate({"type": "t", **given})


@pytest.mark.parametrize(
    "name", ["auto_ack", "no_ack", "noack", "enable_auto_commit", "auto_offset_reset", "clean_start", "ack_policy"]
)
def test_settings_of_other_programs_that_lose_messages_are_refused_with_a_reason(name: str) -> None:
    with pytest.raises(ValidationError, match=rf"{name}: .*(remove this setting|set `start)"):
        options(**{name: True})


@pytest.mark.parametrize("subject", [{}, {"key": False}, {"key": True, "header": "x"}, {"header": ""}, "(", "$nothing"])
def test_a_subject_that_cannot_work_is_refused(subject: object) -> None:
    with pytest.raises(ValidationError):
        options(subject=subject)


@pytest.mark.parametrize("subject", [{"key": True}, {"header": "x"}, "customer.id", "$string(id) & '-'"])
def test_subjects(subject: object) -> None:
    assert options(subject=subject).subject


def test_what_was_missing_at_the_start_does_not_begin_at_its_end() -> None:
    given = {"kind": "redis", "url": "redis://h", "stream": "s", "type": "t"}
    options = RedisSourceOptions.model_validate(given | {"start": "latest"})
    own, another = options.of_one_run(), options.of_one_run()
    assert own.begins_at_end("s")
    own.note_missing("s")
    assert not own.begins_at_end("s")
    assert own.begins_at_end("other")
    assert options.begins_at_end("s"), "each run of a source knows what it has seen"
    assert another.begins_at_end("s")
    assert options == RedisSourceOptions.model_validate(given | {"start": "latest"})
    assert not RedisSourceOptions.model_validate(given).begins_at_end("s")
