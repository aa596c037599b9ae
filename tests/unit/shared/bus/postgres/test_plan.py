"""A plan holds every record of its transaction once, where its key lies, in batches that are bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.postgres.plan import BATCH_BYTES, KEY_LIMIT, Plan, Topic, plan
from shared.bus.postgres.records import pack_headers, unpack_headers
from shared.bus.protocol import RECORD_LIMIT, Outgoing, partition_of
from shared.errors import TooLarge

LOG = Topic("log", "e", compact=False, partitions=(11, 12, 13))
LINE = Topic("line", "e", compact=False, partitions=(21,))
KEPT = Topic("kept", "e", compact=True, partitions=(31, 32))
TOPICS = {topic.name: topic for topic in (LOG, LINE, KEPT)}


def batches(planned: Plan) -> list[tuple[int, list[tuple[bytes, bytes | None, bytes | None]]]]:
    """Return what the server makes of it: partition, and its rows."""
    found, first = [], 0
    for partition, count in zip(planned.partitions, planned.records, strict=True):
        found.append((partition, planned.rows[first : first + count]))
        first += count
    assert first == len(planned.rows)
    return found


@given(st.lists(st.tuples(st.binary(max_size=4), st.none() | st.binary(max_size=20))))
def test_records_lie_where_their_keys_do_and_keep_their_order(pairs: list[tuple[bytes, bytes | None]]) -> None:
    planned = plan({"log": [Outgoing(key, value) for key, value in pairs]}, TOPICS)
    for number, partition in enumerate(LOG.partitions):
        expected = [(key, value, None) for key, value in pairs if partition_of(key, 3) == number]
        assert [row for where, rows in batches(planned) if where == partition for row in rows] == expected
    assert planned.size == sum(planned.sizes) == sum(len(key) + len(value or b"") for key, value in pairs)


def test_batches_are_bounded_and_a_large_record_has_its_own() -> None:
    third = b"v" * (BATCH_BYTES // 3)
    large = b"v" * (2 * BATCH_BYTES)
    planned = plan({"line": [Outgoing(b"", value) for value in (third, third, third, large, third)]}, TOPICS)
    assert planned.records == [3, 1, 1]
    assert planned.partitions == [21, 21, 21]


def test_topics_and_offsets_share_a_plan() -> None:
    planned = plan(
        {"line": [Outgoing(b"a", b"1")], "kept": [Outgoing(b"c", b"2")], "log": []}, TOPICS, "group", [(11, 5)]
    )
    assert batches(planned) == [(21, [(b"a", b"1", None)])]
    assert list(planned.kept.values()) == [(b"c", b"2", None)]
    assert (planned.group, planned.settled, planned.offsets) == ("group", [11], [5])
    assert planned.touched == {21, KEPT.partitions[partition_of(b"c", 2)]}


def test_of_a_compacted_key_the_last_record_counts_and_comes_where_it_came() -> None:
    written = [Outgoing(b"a", b"1"), Outgoing(b"b", b"2"), Outgoing(b"a", None, (("h", b"x"),))]
    one = Topic("one", "e", compact=True, partitions=(41,))
    planned = plan({"one": written}, {"one": one})
    assert list(planned.kept.items()) == [
        ((41, b"b"), (b"b", b"2", None)),
        ((41, b"a"), (b"a", None, pack_headers((("h", b"x"),)))),
    ]
    assert not planned.rows


@pytest.mark.parametrize("topic", ["line", "kept"])
def test_a_record_above_the_limit_names_both_sizes(topic: str) -> None:
    fits = Outgoing(b"k", b"v" * (RECORD_LIMIT - 4), (("ab", b"c"),))
    assert not plan({topic: [fits]}, TOPICS).empty
    with pytest.raises(TooLarge, match=f"{topic}: a record of {RECORD_LIMIT + 1} bytes, the limit is {RECORD_LIMIT}"):
        plan({topic: [fits._replace(key=b"kk")]}, TOPICS)


def test_a_key_of_a_compacted_topic_fits_an_index() -> None:
    assert not plan({"kept": [Outgoing(b"k" * KEY_LIMIT, b"")]}, TOPICS).empty
    with pytest.raises(TooLarge, match=f"kept: a key of {KEY_LIMIT + 1} bytes"):
        plan({"kept": [Outgoing(b"k" * (KEY_LIMIT + 1), b"")]}, TOPICS)


def test_nothing_is_empty() -> None:
    assert plan({}, TOPICS).empty
    assert plan({"log": [], "kept": []}, TOPICS).empty


@given(st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=30)), max_size=5))
def test_headers_come_back_as_they_were(headers: list[tuple[str, bytes]]) -> None:
    assert unpack_headers(pack_headers(headers)) == tuple(headers)
