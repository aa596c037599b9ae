"""A plan holds every record of its transaction once, in the partition of its key, in bounded batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.partitioning import partition_of
from shared.bus.postgres.plan import BATCH_BYTES, KEY_LIMIT, Plan, Topic, plan
from shared.bus.postgres.records import pack_headers, unpack_headers
from shared.bus.protocol import RECORD_LIMIT, Outgoing, TopicPartition
from shared.errors import TooLarge

LOG = Topic("log", "e", compact=False, partitions=(11, 12, 13))
LINE = Topic("line", "e", compact=False, partitions=(21,))
COMPACTED = Topic("compacted", "e", compact=True, partitions=(31, 32))
TOPICS = {topic.name: topic for topic in (LOG, LINE, COMPACTED)}


def batches(planned: Plan) -> list[tuple[int, list[tuple[bytes, bytes | None, bytes | None]]]]:
    """Return the batches as the server sees them: the partition, and its rows."""
    found, first = [], 0
    for partition, count in zip(planned.partitions, planned.records, strict=True):
        found.append((partition, planned.rows[first : first + count]))
        first += count
    assert first == len(planned.rows)
    return found


@given(st.lists(st.tuples(st.binary(max_size=4), st.none() | st.binary(max_size=20))))
def test_records_are_in_the_partitions_of_their_keys_and_keep_their_order(
    pairs: list[tuple[bytes, bytes | None]],
) -> None:
    planned = plan({"log": [Outgoing(key, value) for key, value in pairs]}, TOPICS)
    for number, partition in enumerate(LOG.partitions):
        expected = [(key, value, None) for key, value in pairs if partition_of(key, 3) == number]
        assert [row for found, rows in batches(planned) if found == partition for row in rows] == expected
    assert planned.size == sum(planned.sizes) == sum(len(key) + len(value or b"") for key, value in pairs)


def test_batches_are_bounded_and_a_large_record_gets_its_own() -> None:
    third = b"v" * (BATCH_BYTES // 3)
    large = b"v" * (2 * BATCH_BYTES)
    planned = plan({"line": [Outgoing(b"", value) for value in (third, third, third, large, third)]}, TOPICS)
    assert planned.records == [3, 1, 1]
    assert planned.partitions == [21, 21, 21]


def test_topics_and_offsets_share_a_plan() -> None:
    planned = plan(
        {"line": [Outgoing(b"a", b"1")], "compacted": [Outgoing(b"c", b"2")], "log": []}, TOPICS, "group", [(11, 5)]
    )
    assert batches(planned) == [(21, [(b"a", b"1", None)])]
    assert list(planned.latest.values()) == [(b"c", b"2", None)]
    assert (planned.group, planned.offset_partitions, planned.offsets) == ("group", [11], [5])
    assert planned.changed_partitions == {21, COMPACTED.partitions[partition_of(b"c", 2)]}


def test_of_a_compacted_key_the_last_record_counts_in_its_place() -> None:
    written = [Outgoing(b"a", b"1"), Outgoing(b"b", b"2"), Outgoing(b"a", None, (("h", b"x"),))]
    one = Topic("one", "e", compact=True, partitions=(41,))
    planned = plan({"one": written}, {"one": one})
    assert list(planned.latest.items()) == [
        ((41, b"b"), (b"b", b"2", None)),
        ((41, b"a"), (b"a", None, pack_headers((("h", b"x"),)))),
    ]
    assert not planned.rows


@pytest.mark.parametrize("topic", ["line", "compacted"])
def test_a_record_above_the_limit_names_both_sizes(topic: str) -> None:
    fits = Outgoing(b"k", b"v" * (RECORD_LIMIT - 4), (("ab", b"c"),))
    assert not plan({topic: [fits]}, TOPICS).empty
    with pytest.raises(TooLarge, match=f"{topic}: a record of {RECORD_LIMIT + 1} bytes, the limit is {RECORD_LIMIT}"):
        plan({topic: [fits._replace(key=b"kk")]}, TOPICS)


def test_a_key_of_a_compacted_topic_fits_an_index() -> None:
    assert not plan({"compacted": [Outgoing(b"k" * KEY_LIMIT, b"")]}, TOPICS).empty
    with pytest.raises(TooLarge, match=f"compacted: a key of {KEY_LIMIT + 1} bytes"):
        plan({"compacted": [Outgoing(b"k" * (KEY_LIMIT + 1), b"")]}, TOPICS)


def test_a_plan_without_records_is_empty() -> None:
    assert plan({}, TOPICS).empty
    assert plan({"log": [], "compacted": []}, TOPICS).empty


@given(st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=30)), max_size=5))
def test_headers_are_decoded_as_they_were_encoded(headers: list[tuple[str, bytes]]) -> None:
    assert unpack_headers(pack_headers(headers)) == tuple(headers)


def test_the_arguments_are_batches_compacted_topics_and_offsets() -> None:
    records = {"line": [Outgoing(b"a", b"1")], "compacted": [Outgoing(b"c", b"2")]}
    partition = COMPACTED.partitions[partition_of(b"c", 2)]
    assert plan(records, TOPICS, "group", [(11, 5)]).arguments() == (
        *([21], [1], [2]),
        *([partition], [b"c"], [b"2"], [None]),
        *("group", [11], [5]),
    )


def test_records_that_are_placed_go_to_their_partition_whatever_their_keys_are() -> None:
    records = [Outgoing(b"%d" % number, b"value") for number in range(5)]
    placed = {TopicPartition("log", 2): records, TopicPartition("compacted", 1): records}
    planned = plan({}, TOPICS, placed=placed)
    assert batches(planned) == [(13, [(key, value, None) for key, value, _ in records])]
    assert list(planned.latest) == [(32, record.key) for record in records]
