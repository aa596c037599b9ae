"""A letter is what its record says, also where an older version wrote it."""

from services.process_api.dead_letters.letter import Letter
from services.process_api.dead_letters.places import Place
from shared.bus.memory.log import MemoryRecord
from shared.events.dead_letter import Content
from tests.unit.services.process_api.dead_letters.lettering import bad_line, letter, reject
from tests.unit.services.process_api.making import event


def old(value: bytes, *headers: tuple[str, bytes], key: bytes | None = b"orders:7") -> Letter:
    return Letter.of(MemoryRecord("trelay.dead-letter", 0, 3, 5, key, value, headers))


def test_a_letter_holds_what_the_reject_says() -> None:
    found = letter(reject(7, attempts=3, replay_of="0-1"), offset=9)
    assert (found.place, found.id, found.attempts, found.replay_of) == (Place(0, 9), "orders:7", 3, "0-1")
    assert (found.pipeline, found.pipeline_name, found.stage) == ("orders@3f2a9c01", "orders", "pipeline")
    assert (found.key, found.content, found.source, found.truncated) == (b"C-1", Content.EVENT, "orders", 0)
    assert found.unpacked is not None
    assert found.unpacked.read_ms == 1_700_000_000_000
    assert letter(reject(truncated=9000)).truncated == 9000


def test_the_source_of_input_is_in_its_id() -> None:
    assert letter(bad_line()).source == "files"
    assert letter(bad_line()).unpacked is None


def test_the_source_of_an_event_without_provenance_is_its_attribute() -> None:
    assert letter(reject(provenance=None)).source == "orders"
    assert letter(reject(provenance=b"malformed")).source == "orders"
    assert letter(reject(provenance=None, value=b"no event")).source == ""


def test_the_letters_of_older_versions_are_read() -> None:
    headers = (("stage", b"pipeline"), ("error", b"steps.0.map: no"), ("attempts", b"x"))
    found = old(event(1), *headers)
    assert (found.content, found.key, found.attempts, found.source) == (Content.EVENT, None, 1, "orders")
    assert old(b"a;b", ("stage", b"source")).content is Content.INPUT
    truncated = old(b"{", ("stage", b"pipeline"), ("error", b"too large (truncated: the first 65536 of 9 bytes)"))
    assert truncated.truncated == 1
    assert old(b"", key=None).id == ""
