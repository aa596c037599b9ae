"""Batches of pipelines that keep state; `test_waiting_state` has the same tests, and these run for the batch."""

from tests.unit.services.process_api.worker.test_waiting_state import (
    test_a_result_passes_or_is_a_dead_letter_of_its_own,
    test_a_result_that_waits_for_something_stays_due,
    test_nothing_is_due_without_state,
    test_the_record_behind_a_result_that_waits_is_not_added,
)

__all__ = [
    "test_a_result_passes_or_is_a_dead_letter_of_its_own",
    "test_a_result_that_waits_for_something_stays_due",
    "test_nothing_is_due_without_state",
    "test_the_record_behind_a_result_that_waits_is_not_added",
]
