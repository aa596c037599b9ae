"""What is known of an event."""

from services.experience_api.wire.frames import event_frame
from tests.unit.services.experience_api.explain.making import INGESTED, PUBLISHED, evidence


def test_the_frame_of_a_record_is_found_by_its_place() -> None:
    known = evidence(frames={(0, 10): b"frame"})
    assert known.frame(PUBLISHED) == b"frame"
    assert known.frame(INGESTED) is None


def test_a_subscription_takes_a_record_by_its_channel_and_its_filters() -> None:
    read = evidence(frames={(0, 10): event_frame(b'{"id":"orders:7","data":{"n":2}}', b"")})
    unread = evidence()
    for known in (read, unread):
        assert known.wanted(PUBLISHED, ["orders.*"], {}) is True
        assert known.wanted(PUBLISHED, ["stock"], {}) is False
    assert read.wanted(PUBLISHED, ["orders.*"], {"orders.*": "n > 1"}) is True
    assert read.wanted(PUBLISHED, ["orders.*"], {"orders.*": "n > 2"}) is False
    assert unread.wanted(PUBLISHED, ["orders.*"], {"orders.*": "n > 1"}) is None
