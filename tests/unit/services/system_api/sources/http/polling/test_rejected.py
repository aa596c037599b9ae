"""Unreadable records are dead-lettered once, while the list has them."""

import pytest

from services.system_api.sources.http.polling.rejected import LIMIT, RejectedRecords
from shared.errors import SettingsError


def test_a_record_is_dead_lettered_once_while_it_is_listed() -> None:
    rejected = RejectedRecords({})
    assert rejected.take("a")
    assert not rejected.take("a")
    rejected.finish()
    assert rejected.saved() == {"rejected": b'["a"]'}
    assert rejected.saved() == {}
    again = RejectedRecords({"rejected": b'["a"]'})
    assert not again.take("a")
    again.finish()
    again.finish()  # the list does not have it any more
    assert again.saved() == {"rejected": None}
    assert again.take("a")


def test_there_is_a_limit_which_is_a_problem_until_records_are_corrected() -> None:
    rejected = RejectedRecords({})
    assert all(rejected.take(str(number)) for number in range(LIMIT))
    assert rejected.problem is None
    assert not rejected.take("one more")
    assert rejected.problem is not None
    assert rejected.problem.startswith("more than 1000 records cannot be read")
    rejected.finish()
    assert rejected.problem is not None
    rejected.take("1")
    rejected.finish()
    assert rejected.problem is None
    assert rejected.take("one more")


def test_a_checkpoint_of_another_kind_is_an_error() -> None:
    with pytest.raises(SettingsError, match="unknown part 'rejected'"):
        RejectedRecords({"rejected": b"5"})


def test_the_whole_part() -> None:
    rejected = RejectedRecords({})
    assert rejected.checkpoint() == {}
    rejected.take("a")
    assert rejected.checkpoint() == {"rejected": b'["a"]'}
