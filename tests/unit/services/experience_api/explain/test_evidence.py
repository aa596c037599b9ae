"""What is known of an event."""

from tests.unit.services.experience_api.explain.making import INGESTED, PUBLISHED, evidence


def test_the_frame_of_a_record_is_found_by_its_place() -> None:
    known = evidence(frames={(0, 10): b"frame"})
    assert known.frame(PUBLISHED) == b"frame"
    assert known.frame(INGESTED) is None
