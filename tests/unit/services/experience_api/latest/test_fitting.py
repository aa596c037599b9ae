from services.experience_api.latest.fitting import Fitted, Stored, fit
from services.experience_api.latest.view import View

STORED = Stored(View("e", 3, 5, (10, 20), 99, 4), "s", (98, 99), (4, 0))


def fitted(bounds: list[tuple[int, int]], epoch: str = "e", settings: str = "s") -> Fitted:
    return fit(STORED, epoch, dict(enumerate(bounds)), settings)


def test_the_first_copy_begins_at_the_earliest_records() -> None:
    found = fit(None, "e", {0: (3, 9), 1: (0, 0)}, "s")
    assert found == Fitted(Stored(View("e", 1, 1, (3, 0), 0, 0), "s", (0, 0), (0, 0)), "")


def test_nothing_changes_while_the_topic_has_what_was_not_copied() -> None:
    assert fitted([(10, 10), (0, 30)]) == Fitted(STORED, "")


def test_events_of_a_recreated_topic_come_after_those_that_are_stored() -> None:
    found = fitted([(0, 7), (1, 7)], "another")
    assert found.stored == Stored(View("another", 4, 6, (0, 1), 99, 4), "s", (0, 0), (0, 0))
    assert found.reason == "the topic was recreated"
    assert not found.other_settings
    assert fitted([(2, 7)]).stored.view == View("e", 4, 6, (2,), 99, 4)


def test_copying_continues_behind_what_retention_has_removed_and_counts_it() -> None:
    found = fitted([(13, 20), (20, 20)])
    assert found.stored == Stored(View("e", 3, 5, (13, 20), 99, 7), "s", (98, 99), (7, 0))
    assert found.reason == "records were removed before they were copied"


def test_a_truncated_topic_begins_a_generation_at_its_end() -> None:
    found = fitted([(0, 10), (0, 15)])
    assert found.truncated
    assert found.stored.view == View("e", 4, 6, (10, 15), 99, 4)
    assert found.reason == "the topic was truncated"


def test_further_partitions_begin_a_generation_at_their_earliest_records() -> None:
    found = fitted([(0, 10), (0, 20), (2, 9)])
    assert found.stored == Stored(View("e", 4, 6, (10, 20, 2), 99, 4), "s", (98, 99, 0), (4, 0, 0))
    assert found.reason == "the topic has more partitions"


def test_with_other_settings_all_that_the_topic_has_is_copied_again() -> None:
    found = fitted([(2, 10), (3, 30)], settings="other")
    assert found.stored.view == View("e", 3, 6, (2, 3), 99, 4)
    assert found.stored.settings == "other"
    assert found.other_settings
    assert found.reason == "other settings"
