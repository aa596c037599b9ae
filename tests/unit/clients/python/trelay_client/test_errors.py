import pytest

from trelay_client import MessageRejected, MessageUnanswered, SendQueueFull, TrelayClientError, UsageError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MessageRejected("m-1", "malformed", "why"), "message m-1 rejected: why (malformed)"),
        (
            MessageUnanswered("m-1", "the subscription has ended"),
            "message m-1 was not acknowledged: the subscription has ended; send it again with the same id",
        ),
        (SendQueueFull("full"), "full"),
        (UsageError("wrong"), "wrong"),
    ],
    ids=["rejected", "unanswered", "full", "usage"],
)
def test_an_error_says_what_to_do(error: TrelayClientError, text: str) -> None:
    assert str(error) == text
