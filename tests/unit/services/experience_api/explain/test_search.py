"""The search for the records of an event."""

import base64
import json
import random
import string
import zlib
from typing import Any

import pytest

from services.experience_api.explain.audited import Audit
from services.experience_api.explain.search import Found, Search, Stage, read_search
from services.experience_api.wire.cursor import CursorCodec
from shared.bus.memory.log import MemoryRecord
from shared.errors import Malformed
from shared.events.dead_letter import Reject
from shared.events.headers import headers_of

AT = 1_700_000_000_000


def record(offset: int, identity: str = "orders:7", *, partition: int = 0, at: int = AT, **more: Any) -> MemoryRecord:
    source = more.get("source", "orders")
    headers = more.get("headers", headers_of(f"{source} 5 {identity}".encode()))
    value = more.get("value", b'{"id":"x"}')
    return MemoryRecord("topic", partition, offset, at, b"key", value, headers)


def begun(stage: Stage = Stage.INGEST, ends: int = 100, *, partitions: int = 1, **more: Any) -> Search:
    search = Search("orders:7", more.get("source", ""), AT - 1000, AT + 1000, more.get("limit", 10**9), stage)
    search.begin(dict.fromkeys(range(partitions), 0), dict.fromkeys(range(partitions), ends))
    return search


def take(search: Search, *records: MemoryRecord, upto: int | None = None) -> list[tuple[Stage, int]]:
    positions = {each.partition: each.offset + 1 for each in records} if upto is None else {0: upto}
    search.take(records, positions)
    return [(each.stage, each.offset) for each in search.found]


def test_an_event_is_found_by_the_id_in_its_header_or_in_itself() -> None:
    search = begun(Stage.PUBLISH)
    own = record(2, "other", value=b'{"id":"orders:7"}')
    mentioned = record(3, "other", value=b'{"id":"x","data":"orders:7"}')
    foreign = record(4, headers=(), value=b'"orders:7')
    assert take(search, record(0, "orders:77"), record(1), own, mentioned, foreign) == [
        (Stage.PUBLISH, 1),
        (Stage.PUBLISH, 2),
    ]
    assert search.found[0] == Found(Stage.PUBLISH, 0, 1, AT, "key", "orders", 5)


def test_the_source_tells_events_of_one_id_apart() -> None:
    search = begun(Stage.PUBLISH, source="stock")
    unknown = record(3, headers=(("trelay-provenance", b"?"),), value=b'{"id":"orders:7"}')
    assert take(search, record(1), record(2, source="stock"), unknown) == [(Stage.PUBLISH, 2), (Stage.PUBLISH, 3)]


def test_the_ingest_topic_is_left_once_the_event_is_found_but_not_between_parts() -> None:
    search = begun()
    between = record(0, headers=(*record(0).headers, ("trelay-part", b"1")))
    assert take(search, between) == []
    assert search.stage is Stage.INGEST
    assert take(search, record(1), record(2)) == [(Stage.INGEST, 1)]
    assert (search.stage, search.begun, search.from_ms) == (Stage.DEAD_LETTER, False, AT)


def test_dead_letters_are_found_with_the_pipeline_and_the_error() -> None:
    search = begun(Stage.DEAD_LETTER)
    refused = Reject("orders:7", b"{}", "step 1: no", "pipeline", "o", "orders@1", provenance=b"orders 5 orders:7")
    unread = Reject("orders:7", b"?", "line 7", "source", "o")
    letters = [
        MemoryRecord("t", 0, number, AT, made.key, made.value, made.headers)
        for number, made in enumerate((refused.record(), unread.record()))
    ]
    take(search, *letters, upto=100)
    assert [(each.pipeline, each.error, each.source) for each in search.found] == [
        ("orders@1", "step 1: no", "orders"),
        ("", "line 7", "orders"),
    ]
    assert search.stage is Stage.PUBLISH


def test_what_is_published_long_after_the_first_result_is_not_read() -> None:
    search = begun(Stage.PUBLISH)
    late = record(3, at=AT + 60_001)
    assert take(search, record(1), record(2, at=AT + 60_000), late) == [(Stage.PUBLISH, 1), (Stage.PUBLISH, 2)]
    assert search.stage is Stage.AUDIT
    assert search.progress() == 0.75


def test_records_behind_the_end_are_not_looked_at() -> None:
    search = begun(Stage.PUBLISH, ends=1)
    assert take(search, record(0, "x"), record(1)) == []
    assert search.stage is Stage.DONE


def test_every_partition_is_read_to_its_end() -> None:
    search = begun(Stage.PUBLISH, ends=2, partitions=2)
    take(search, record(0, "x"), record(1, "x"))
    assert search.stage is Stage.PUBLISH
    take(search, record(1, partition=1))
    assert (search.stage, len(search.found)) == (Stage.AUDIT, 1)


def test_an_empty_topic_is_done_at_once() -> None:
    search = begun(ends=0)
    assert search.stage is Stage.DEAD_LETTER
    assert search.from_ms == AT - 1000


def test_the_bytes_that_are_read_are_bounded() -> None:
    search = begun(Stage.PUBLISH, limit=25)
    take(search, record(0, "x"), record(1, "x"))
    assert search.cut == []
    take(search, record(2, "x"))
    assert (search.stage, search.cut, search.records, search.bytes) == (Stage.DONE, [Stage.PUBLISH], 3, 30)


def test_the_records_that_are_kept_are_bounded() -> None:
    search = begun(Stage.PUBLISH)
    take(search, *(record(number) for number in range(60)))
    assert (len(search.found), search.more) == (50, True)
    search = begun(Stage.PUBLISH)
    take(search, *(record(number) for number in range(50)))
    assert (len(search.found), search.more) == (50, False)


def test_the_progress_grows() -> None:
    search = begun()
    seen = [search.progress()]
    for offset in (49, 99):
        take(search, record(offset, "x"))
        seen.append(search.progress())
    assert seen == [0, pytest.approx(1 / 8), pytest.approx(1 / 4)]


def test_it_continues_from_a_cursor() -> None:
    search = begun(partitions=2)
    take(search, record(3, "x"))
    assert read_search(search.save()) == search


def test_a_cursor_fits_into_a_url_with_many_partitions_and_long_errors() -> None:
    rng = random.Random(7)
    search = begun(Stage.DEAD_LETTER, partitions=200)
    search.positions = {number: rng.randrange(10**12) for number in search.positions}
    search.ends = {number: position + rng.randrange(10**6) for number, position in search.positions.items()}
    search.first = dict(search.positions)
    for number in range(50):
        error = "".join(rng.choices(string.printable, k=2000))
        reject = Reject("orders:7", b"{}", error, "pipeline", "o", provenance=b"orders 5 orders:7").record()
        position = search.positions[3] + number
        take(search, MemoryRecord("t", 3, position, AT, reject.key, reject.value, reject.headers))
    assert len(search.found) == 50
    assert len(search.save()) < 45_000  # of 64 KiB
    assert read_search(search.save()) == search
    plain = begun(partitions=200)
    assert len(plain.save()) < 2_000


def packed(state: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(state)).decode()


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "%%", packed(b"{}"), packed(b" " * 2_000_000 + b"{}"), packed(b"[]")[:8]],
    ids=range(6),
)
def test_another_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Malformed, match="'cursor'"):
        read_search(cursor)


def test_a_cursor_that_was_altered_is_refused() -> None:
    found = json.loads(zlib.decompress(base64.urlsafe_b64decode(begun().save() + "==")))
    found["positions"] = {"7": 1}
    with pytest.raises(Malformed, match="'cursor'"):
        read_search(packed(json.dumps(found).encode()))


def test_the_audit_is_read_for_what_is_published_until_it_was_acknowledged() -> None:
    search = begun(Stage.PUBLISH, ends=1)
    take(search, record(0))
    assert (search.stage, search.from_ms) == (Stage.AUDIT, search.found[0].at - 60_000)
    search.audit = Audit("shop", "epoch", 1)
    search.begin({0: 0}, {0: 9})
    before, behind = (CursorCodec("epoch", 1).encode((offset,)).decode() for offset in (0, 1))
    ranged = {"kind": "delivered", "connection_id": "c-1", "node": "n", "at": "t", "channels": [], "filters": {}}
    for offset, acknowledged in ((0, before), (1, behind)):
        assert search.stage is Stage.AUDIT
        cursors = {"after": before, "written": behind, "sent": behind, "acknowledged": acknowledged}
        value = json.dumps({**ranged, **cursors}).encode()
        search.take([MemoryRecord("trelay.audit", 0, offset, AT, b"shop", value, ())], {0: offset + 1})
    assert search.stage is Stage.DONE
    assert [each.acknowledged for each in search.audit.written] == [True]
    assert read_search(search.save()) == search
