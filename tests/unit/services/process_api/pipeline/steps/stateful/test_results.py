"""Open windows as they are stored, and their events."""

import json

from services.process_api.pipeline.steps.stateful.accumulators import Computed
from services.process_api.pipeline.steps.stateful.results import Open, Results, pack, unpack
from services.process_api.pipeline.steps.stateful.windows import Span
from shared.events.headers import unpack_provenance

WINDOW = Open(0, 60_000, "C-1", (b'"eu"',), "orders", [[b"2"], None])
RESULTS = Results("sums", "f00", "total", ["region"], [Computed("n", "count"), Computed("m", "count")])


def test_what_is_packed_is_unpacked() -> None:
    assert unpack(pack([WINDOW, WINDOW])) == [WINDOW, WINDOW]
    assert unpack(None) == []
    assert WINDOW.span == Span(0, 60_000)


def test_a_window_becomes_an_event() -> None:
    draft, headers, key, _ = RESULTS.of(WINDOW, b"group", 1234, final=True)
    made = json.loads(draft.encoded(b'"c"'))
    assert made["data"] == {
        "start": "1970-01-01T00:00:00.000Z",
        "end": "1970-01-01T00:01:00.000Z",
        "final": True,
        "by": ["eu"],
        "n": 2,
        "m": None,
    }
    draft.check()
    provenance = unpack_provenance(dict(headers)["trelay-provenance"])
    assert (provenance.source, provenance.read_ms, provenance.id) == ("orders", 1234, made["id"])
    assert key == b"C-1"


def test_ids_tell_apart_groups_windows_and_revisions() -> None:
    early = Open(0, 60_000, "", (), "orders", [], revision=3)
    later = Open(1, 60_000, "", (), "orders", [])
    plain = Results("sums", "f00", "total", [], [])
    ids = [
        plain.of(early, b"a", 0, final=False),
        plain.of(early, b"a", 0, final=True),
        plain.of(early, b"b", 0, final=True),
        plain.of(later, b"a", 0, final=True),
        Results("sums", "f01", "total", [], []).of(early, b"a", 0, final=True),
    ]
    assert len({due.draft.attribute("id") for due in ids}) == len(ids)
    assert ids[0].draft.attribute("subject") is None
