"""What a connection to SQS holds, and may ask for."""

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
