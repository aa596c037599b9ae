"""The errors of the client library."""


class TrelayClientError(Exception):
    """The base of the errors of the client library."""


class UsageError(TrelayClientError):
    """An argument cannot be used: an invalid URL, or a cursor file that cannot be read or written."""


class MessageRejected(TrelayClientError):
    """A message was not stored, and the same one would be rejected again."""

    def __init__(self, message_id: str, code: str, detail: str) -> None:
        super().__init__(f"message {message_id} rejected: {detail} ({code})")
        self.message_id = message_id
        self.code = code
        """What is wrong, for programs: `may-not-send`, `too-large`, or a code of docs/subscribers.md."""


class MessageUnanswered(TrelayClientError):
    """A message may be stored or not. Sent again with the same id, it is stored once."""

    def __init__(self, message_id: str, reason: str) -> None:
        super().__init__(f"message {message_id} was not acknowledged: {reason}; send it again with the same id")
        self.message_id = message_id


class ChangeRefused(TrelayClientError):
    """The channels were not changed, and the same change would be refused again."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"change of channels refused: {detail} ({code})")
        self.code = code
        """What is wrong, for programs: `channel-not-permitted`, or another code of docs/subscribers.md."""


class ChangeUnanswered(TrelayClientError):
    """The channels may be changed or not."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"change of channels was not acknowledged: {reason}")


class SendQueueFull(TrelayClientError):
    """The queue of unacknowledged messages is full. This message was not sent."""
