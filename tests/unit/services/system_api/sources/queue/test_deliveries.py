"""A message that stops the process is processed by itself, and parked in the end."""

import json

import pytest

from services.system_api.sources.queue.deliveries import PART, Attempts, Outcomes
from services.system_api.sources.queue.message import Message
from shared.errors import SettingsError


def message(place: str, deliveries: int = 2) -> Message:
    return Message(place, b"1", deliveries=deliveries)


class Runs:
    """A source that is opened again and again."""

    def __init__(self, max_deliveries: int = 4) -> None:
        self.max_deliveries = max_deliveries
        self.saved: dict[str, bytes] = {}

    def open(self, outcomes: Outcomes | None = None) -> Attempts:
        attempts = Attempts(self.max_deliveries, outcomes or Outcomes(), self.saved)
        begun = attempts.begin()
        assert begun is not None
        self.save(begun)
        assert attempts.begin() is None
        return attempts

    def save(self, parts: dict[str, bytes | None]) -> None:
        self.saved |= {part: value for part, value in parts.items() if value is not None}


def test_after_two_runs_that_published_nothing_messages_are_processed_by_themselves() -> None:
    runs = Runs()
    for expected in (False, False, True):
        attempts = runs.open()
        assert attempts.careful == expected
        assert attempts.suspects(message("a")) == expected


def test_a_run_that_publishes_something_is_as_good_as_the_first() -> None:
    runs = Runs()
    runs.open()
    attempts = runs.open()
    attempts.note_processed(message("a", 1))
    runs.save(attempts.take_checkpoint())
    assert json.loads(runs.saved[PART]) == {"runs": 0, "attempts": {}}
    assert attempts.take_checkpoint() == {}
    assert not runs.open().careful


@pytest.mark.parametrize(("deliveries", "suspect"), [(0, True), (1, False), (2, True)])
def test_only_what_may_have_been_delivered_before_is_suspect(deliveries: int, suspect: bool) -> None:
    runs = Runs()
    runs.open()
    runs.open()
    assert runs.open().suspects(message("a", deliveries)) == suspect


def test_a_message_is_parked_when_its_attempts_are_used_up() -> None:
    runs = Runs(max_deliveries=4)
    runs.open()
    runs.open()
    for _ in range(2):
        attempts = runs.open()
        assert attempts.suspects(message("a"))
        runs.save(attempts.attempt(message("a")))
        assert attempts.refusal(message("a")) is None
    outcomes = Outcomes()
    outcomes.note_failed(message("a"), "KeyError: 'id'")
    attempts = runs.open(outcomes)
    attempts.attempt(message("a"))
    assert attempts.refusal(message("a")) == (
        "delivered 5 times and never processed to the end; the last error: KeyError: 'id'"
    )
    assert attempts.tries(message("a", 9)) == 9
    assert attempts.tries(message("b", 1)) == 1
    attempts.note_processed(message("a"))
    runs.save(attempts.take_checkpoint())
    assert json.loads(runs.saved[PART]) == {"runs": 0, "attempts": {}}


def test_without_an_error_of_this_process_there_is_none_to_tell() -> None:
    attempts = Attempts(3, Outcomes(), {PART: b'{"runs":4,"attempts":{"a":2}}'})
    assert attempts.refusal(message("a")) == "delivered 4 times and never processed to the end"


def test_a_message_that_comes_again_after_others_were_published_is_parked_as_well() -> None:
    """As from brokers that hide what was delivered for a while."""
    runs = Runs(max_deliveries=4)
    refusals = []
    for deliveries in range(1, 6):
        attempts = runs.open()
        assert not attempts.careful
        poison = message("poison", deliveries)
        for number in range(2000):
            attempts.note_processed(message(f"{deliveries}.{number}", 1))
        assert attempts.suspects(poison) == (deliveries > 2)
        runs.save(attempts.take_checkpoint())
        if attempts.suspects(poison):
            runs.save(attempts.attempt(poison))
        refusals.append(attempts.refusal(poison))
    assert refusals == [None] * 4 + ["delivered 5 times and never processed to the end"]


def test_few_attempts_are_kept() -> None:
    attempts = Attempts(3, Outcomes(), {})
    for number in range(100):
        attempts.attempt(message(str(number)))
    attempts.attempt(message("0"))
    saved = attempts.attempt(message("100"))[PART] or b""
    kept = json.loads(saved)["attempts"]
    assert (len(kept), kept["0"], "1" in kept) == (100, 2, False)


def test_care_ends_with_the_first_fresh_message() -> None:
    runs = Runs()
    runs.open()
    runs.open()
    attempts = runs.open()
    attempts.note_processed(message("a", 2))
    assert attempts.careful
    attempts.note_processed(message("b", 1))
    assert not attempts.careful


def test_care_ends_after_a_thousand_messages_and_forgets_what_never_came_again() -> None:
    attempts = Attempts(5, Outcomes(), {PART: b'{"runs":2,"attempts":{"gone":1}}'})
    for number in range(1000):
        assert attempts.careful
        attempts.note_processed(message(str(number), 1))
    assert not attempts.careful
    assert json.loads(attempts.take_checkpoint()[PART] or b"") == {"runs": 0, "attempts": {}}


def test_what_was_processed_here_is_harmless_until_it_is_settled() -> None:
    outcomes = Outcomes()
    attempts = Attempts(3, outcomes, {PART: b'{"runs":9,"attempts":{"a":1}}'})
    outcomes.note_processed(message("a"))
    assert not attempts.suspects(message("a"))
    outcomes.note_settled([message("a")])
    assert attempts.suspects(message("a"))


def test_little_is_remembered() -> None:
    outcomes = Outcomes()
    for number in range(10_001):
        outcomes.note_processed(message(str(number)))
        outcomes.note_failed(message(str(number)), "error")
    assert [outcomes.harmless(message(place)) for place in ("0", "1")] == [False, True]
    assert [outcomes.error(message(place)) for place in ("0", "1")] == [None, "error"]


def test_the_checkpoint_of_another_source_is_refused() -> None:
    with pytest.raises(SettingsError, match="not that of a queue"):
        Attempts(3, Outcomes(), {PART: b"1"})


def test_what_was_delivered_for_the_last_time_and_is_not_settled_is_given_up() -> None:
    outcomes = Outcomes()
    last = [message(place)._replace(final="drops it") for place in "abc"]
    outcomes.note_received([*last, message("d")])
    outcomes.note_settled([last[0]])
    assert outcomes.take_given_up({"b"}) == [last[2]]
    assert outcomes.take_given_up(()) == [last[1]], "it is not being committed any more"
    assert outcomes.take_given_up(()) == []
