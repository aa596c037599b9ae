import random
import threading
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trelay_client import MessageRejected, MessageUnanswered, SendQueueFull, UsageError
from trelay_client.messages import Message, Messages, Receipt


class Wakes:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def attached(limit: int = 10, limit_bytes: int = 10_000) -> tuple[Messages, Wakes]:
    messages, wakes = Messages(limit, limit_bytes), Wakes()
    messages.attach(wakes)
    return messages, wakes


def sent(messages: Messages) -> list[dict[str, Any]]:
    found = []
    while (text := messages.next()) is not None:
        found.append(msgspec.json.decode(text))
    return found


def ids(messages: Messages) -> list[str]:
    return [message["id"] for message in sent(messages)]


def accepted(number: int, event: str = "e") -> dict[str, Any]:
    return {"type": "trelay.accepted", "data": {"message": number, "event": event}}


def rejected(number: int) -> dict[str, Any]:
    data = {"message": number, "code": "idempotency-key-reused", "detail": "the id was used"}
    return {"type": "trelay.rejected", "data": data}


def failure(message: Message) -> BaseException | None:
    assert message.result.done()
    return message.result.exception()


def test_messages_are_sent_in_order_once_a_connection_is_open() -> None:
    messages, wakes = attached()
    connection = Wakes()
    first = messages.add({"celsius": 21.5}, "a")
    assert (messages.next(), messages.waiting, wakes.count) == (None, True, 1)
    messages.connected(1000, connection)
    messages.add(b"\xff", "b")
    assert (wakes.count, connection.count) == (2, 1)
    assert sent(messages) == [
        {"type": "trelay.message", "id": "a", "data": {"celsius": 21.5}},
        {"type": "trelay.message", "id": "b", "data_base64": "/w=="},
    ]
    assert messages.received(accepted(1, "e-1"))
    assert first.result.result(0) == Receipt("a", "e-1")
    assert messages.waiting
    assert messages.received(rejected(2))
    assert not messages.waiting


def test_a_rejection_says_why() -> None:
    messages, _ = attached()
    messages.connected(1000, Wakes())
    message = messages.add(1, "a")
    sent(messages)
    messages.received(rejected(1))
    error = failure(message)
    assert isinstance(error, MessageRejected)
    assert (error.code, error.message_id) == ("idempotency-key-reused", "a")
    assert str(error) == "message a rejected: the id was used (idempotency-key-reused)"


def test_what_was_not_answered_is_sent_again_in_order() -> None:
    messages, wakes = attached()
    connection = Wakes()
    messages.connected(1000, connection)
    for name in "abc":
        messages.add(name, name)
    assert ids(messages) == ["a", "b", "c"]
    messages.received(accepted(1))
    messages.disconnected()
    messages.add("d", "d")
    assert (messages.next(), wakes.count, connection.count) == (None, 4, 3)
    messages.connected(1000, Wakes())
    assert ids(messages) == ["b", "c", "d"]
    assert not messages.received(accepted(4)), "numbers begin again"
    assert messages.received(accepted(1))


def test_other_events_are_not_answers() -> None:
    messages, _ = attached()
    messages.connected(1000, Wakes())
    messages.add("a", "a")
    sent(messages)
    for event in ({"type": "trelay.gap", "data": {"message": 1}}, {"type": "trelay.accepted"}, accepted(2)):
        assert not messages.received(event)
    assert messages.waiting


def test_what_is_withdrawn_is_not_sent_and_its_answer_is_of_no_use() -> None:
    messages, _ = attached(limit=2)
    messages.connected(1000, Wakes())
    first, second = messages.add("a", "a"), messages.add("b", "b")
    messages.withdraw(second)
    messages.withdraw(second)
    third = messages.add("c", "c")
    assert ids(messages) == ["a", "c"]
    messages.withdraw(first)
    assert messages.received(accepted(1))
    messages.withdraw(third)
    assert messages.received(rejected(2))
    assert not first.result.done()
    assert not third.result.done()
    assert not messages.waiting


def test_the_queue_is_bounded_in_messages_and_bytes() -> None:
    messages, _ = attached(limit=2)
    messages.add("a", "a")
    messages.add("b", "b")
    with pytest.raises(SendQueueFull, match="2 messages of 90 bytes wait"):
        messages.add("c", "c")
    small, _ = attached(limit_bytes=100)
    small.add("x" * 40, "a")
    with pytest.raises(SendQueueFull):
        small.add("x" * 40, "b")


@pytest.mark.parametrize("message_id", ["", "a b", "é", "x" * 256, "a\n"])
def test_an_id_that_the_relay_would_reject_is_refused(message_id: str) -> None:
    messages, _ = attached()
    with pytest.raises(UsageError, match="expected 1 to 255 visible ASCII characters"):
        messages.add("a", message_id)


@pytest.mark.parametrize("data", [object(), {1: {2: object()}}, "\ud800"], ids=["object", "nested", "surrogate"])
def test_data_that_is_no_json_is_refused(data: object) -> None:
    messages, _ = attached()
    with pytest.raises(UsageError, match="message a cannot be encoded as JSON"):
        messages.add(data, "a")
    assert not messages.waiting


def test_a_client_that_may_not_send_does_not() -> None:
    messages, _ = attached()
    early = messages.add("a", "a")
    messages.connected(None, Wakes())
    with pytest.raises(MessageRejected, match="may not send") as late:
        messages.add("b", "b")
    error = failure(early)
    assert isinstance(error, MessageRejected)
    assert error.code == late.value.code == "may-not-send"
    assert messages.next() is None


def test_a_message_that_would_end_the_connection_is_not_sent() -> None:
    messages, _ = attached()
    early = messages.add("x" * 100, "a")
    messages.connected(60, Wakes())
    with pytest.raises(MessageRejected, match="found 144 bytes; expected at most 60"):
        messages.add("x" * 100, "b")
    assert isinstance(failure(early), MessageRejected)
    messages.add("x", "c")
    assert ids(messages) == ["c"]


def test_the_end_of_the_subscription_is_reported() -> None:
    messages, _ = attached()
    messages.connected(1000, Wakes())
    first = messages.add("a", "a")
    sent(messages)
    second = messages.add("b", "b")
    messages.end("client disabled")
    for message in (first, second):
        assert isinstance(failure(message), MessageUnanswered)
    with pytest.raises(MessageUnanswered, match="message c was not acknowledged: client disabled; send it again"):
        messages.add("c", "c")
    messages.detach("closed")
    messages.attach(Wakes())
    messages.add("d", "d")
    messages.connected(1000, Wakes())
    assert ids(messages) == ["d"], "another subscription may use it now"


def test_one_subscription_at_a_time() -> None:
    messages, _ = attached()
    with pytest.raises(UsageError, match="another subscription"):
        messages.attach(Wakes())


@given(st.integers(0, 2**32))
def test_each_message_has_one_end_and_order_is_kept(seed: int) -> None:
    """A relay that stores an id once and breaks anywhere stores all messages, in their order."""
    rng = random.Random(seed)
    messages, _ = attached(limit=100, limit_bytes=10**6)
    stored: list[str] = []
    waiting: list[Message] = []
    added = 0
    while added < 20 or messages.waiting:
        messages.connected(1000, Wakes())
        on_the_wire: list[str] = []
        for _step in range(rng.randrange(12)):
            if added < 20 and rng.random() < 0.5:
                waiting.append(messages.add(added, str(added)))
                added += 1
            elif (text := messages.next()) is not None:
                on_the_wire.append(msgspec.json.decode(text)["id"])
        # The relay stores some of what was sent, and acknowledges some of that.
        taken = on_the_wire[: rng.randint(0, len(on_the_wire))]
        stored += [found for found in taken if found not in stored]
        for number in range(1, rng.randint(0, len(taken)) + 1):
            assert messages.received(accepted(number, f"event-{taken[number - 1]}"))
        messages.disconnected()
    assert stored == [str(number) for number in range(20)]
    assert [message.result.result(0).event_id for message in waiting] == [f"event-{number}" for number in range(20)]


def test_threads_may_add_at_once() -> None:
    messages, wakes = attached(limit=1000, limit_bytes=1_000_000)
    threads = [
        threading.Thread(target=lambda part=part: [messages.add(n, f"{part}-{n}") for n in range(100)])
        for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    messages.connected(1000, Wakes())
    found = ids(messages)
    assert len(found) == len(set(found)) == wakes.count == 400
