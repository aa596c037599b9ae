"""What a connection to SQS holds, and may ask for."""

import pytest

from services.system_api.sources.queue.sqs.holding import Held, entries, settled


def test_requests_ask_for_no_more_than_there_is_room_for() -> None:
    held = Held(limit=25, max_bytes=100)
    assert held.plan(1) == [10]
    assert held.plan(8) == [10, 10, 5]
    for number in range(25):
        held.add(str(number), 1)
    assert held.plan(8) == []
    held.remove(["0"])
    assert held.plan(8) == [1]
    held.add("large", 76)
    assert held.plan(8) == []
    held.remove(["large"])
    assert held.plan(8) == [1]


@pytest.mark.parametrize(("size", "most"), [(1, 1000), (1000, 1000), (100_000, 160), (1_048_576, 16)])
def test_messages_of_any_size_stay_within_the_bytes(size: int, most: int) -> None:
    """Of the first request nothing is known: it is ten messages at most, whatever their size."""
    held = Held(limit=1000, max_bytes=16 * 1_048_576)
    number = 0
    while counts := held.plan(8 if number else 1):
        for _ in range(sum(counts)):
            held.add(str(number), size)
            number += 1
    assert number >= most
    assert number * size < 16 * 1_048_576 + max(10, 1) * size


def test_a_small_message_is_asked_for_again_after_large_ones() -> None:
    held = Held(limit=10_000, max_bytes=1_000_000)
    held.add("large", 900_000)
    held.remove(["large"])
    assert held.plan(8) == [1]
    for number in range(5000):
        held.add(str(number), 100)
        held.remove([str(number)])
    assert held.plan(8) == [10] * 8


def test_what_is_published_is_deleted_and_not_hidden_any_more() -> None:
    held = Held(limit=10, max_bytes=100)
    for receipt in ("a", "b", "c"):
        held.add(receipt, 1)
    held.note_published(["c", "a", "of another connection"])
    assert held.unpublished == ["b"]
    assert held.published == ["c", "a"]
    held.remove(["a", "unknown"])
    assert held.published == ["c"]


def test_receipts_are_sent_ten_at_a_time() -> None:
    batches = list(entries([f"r{number}" for number in range(12)]))
    assert [len(batch) for batch in batches] == [10, 2]
    assert batches[1] == [{"Id": "0", "ReceiptHandle": "r10"}, {"Id": "1", "ReceiptHandle": "r11"}]


def test_what_failed_because_of_sqs_is_sent_again() -> None:
    [batch] = entries(["a", "b", "c"])
    failed = [{"Id": "0", "SenderFault": True}, {"Id": "2", "SenderFault": False}]
    assert settled(batch, {"Failed": failed}) == ["a", "b"]
    assert settled(batch, {}) == ["a", "b", "c"]
