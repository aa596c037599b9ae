"""The tree of errors: cut by what the caller should do."""

import pytest

from shared.errors import (
    Fenced,
    Malformed,
    PositionLost,
    SettingsError,
    TooLarge,
    TrelayError,
    Unauthorized,
    Unavailable,
)


def test_a_lost_position_names_itself_and_what_is_left() -> None:
    error = PositionLost("trelay.publish", 3, 17, 42)
    assert str(error) == "trelay.publish/3: offset 17 is no longer kept, the earliest is 42"
    assert (error.topic, error.partition, error.offset, error.earliest) == ("trelay.publish", 3, 17, 42)


@pytest.mark.parametrize("kind", [Fenced, Malformed, SettingsError, TooLarge])
def test_what_would_fail_again_is_not_retried(kind: type[TrelayError]) -> None:
    assert not issubclass(kind, Unavailable)
    assert issubclass(kind, TrelayError)


def test_refused_credentials_are_retried_for_they_are_mended_while_we_run() -> None:
    assert issubclass(Unauthorized, Unavailable)
