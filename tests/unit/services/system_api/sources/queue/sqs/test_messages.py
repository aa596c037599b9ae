"""What SQS delivers becomes a message."""

from typing import Any

import pytest

from services.system_api.sources.queue.sqs.messages import message_of, refuse_risks, size_of
from services.system_api.sources.queue.sqs.options import SqsSourceOptions
from shared.errors import SettingsError
from tests.unit.services.system_api.sources.queue.messages import event_of


def delivered(**given: Any) -> dict[str, Any]:
    return {"MessageId": "id-1", "Body": '{"a":1}', "ReceiptHandle": "receipt", **given}


def options(**given: Any) -> SqsSourceOptions:
    url = "https://sqs.eu-central-1.amazonaws.com/1/q"
    return SqsSourceOptions.model_validate({"kind": "sqs", "url": url, "type": "t", **given})


def test_all_that_sqs_tells() -> None:
    system = {"SentTimestamp": "1700000000500", "MessageGroupId": "g", "ApproximateReceiveCount": "3"}
    user = {
        "k": {"StringValue": "v", "DataType": "String"},
        "b": {"BinaryValue": b"\x00", "DataType": "Binary"},
        "Content-Type": {"StringValue": "application/json", "DataType": "String"},
    }
    message = message_of(delivered(Attributes=system, MessageAttributes=user))
    assert (message.place, message.token, message.deliveries, message.key) == ("id-1", "receipt", 3, "g")
    assert message.headers == {"k": "v", "Content-Type": "application/json"}
    assert message.content_type == "application/json"
    event = event_of(message)
    assert (event["subject"], event["time"], event["data"]) == ("g", "2023-11-14T22:13:20.500Z", {"a": 1})


@pytest.mark.parametrize(("limit", "final"), [(None, False), (4, False), (3, True), (1, True)])
def test_the_last_delivery_before_a_message_is_moved_away(limit: int | None, final: bool) -> None:
    message = message_of(delivered(Attributes={"ApproximateReceiveCount": "3"}), limit)
    assert message.final == ("moves it to its dead-letter queue" if final else None)


def test_a_message_of_a_standard_queue() -> None:
    message = message_of(delivered())
    assert (message.key, message.time, message.deliveries, message.content_type) == ("", None, 0, None)
    assert message.identified


@pytest.mark.parametrize("number", ["", "x", "-1", "1.5", "²", "9" * 5000])
def test_a_number_that_is_none_is_not_known(number: str) -> None:
    """There are other servers of this API."""
    message = message_of(delivered(Attributes={"SentTimestamp": number, "ApproximateReceiveCount": number}))
    assert (message.time, message.deliveries) == (None, 0)


def test_a_message_without_a_body_is_a_message() -> None:
    given = {"MessageId": "1", "ReceiptHandle": "r"}
    assert message_of(given).body == b""
    assert size_of(given) == 0


def test_a_body_that_is_elsewhere_is_refused() -> None:
    name = {"StringValue": "300000", "DataType": "Number"}
    assert "object in S3" in (message_of(delivered(MessageAttributes={"ExtendedPayloadSize": name})).fault or "")


def test_the_size_of_a_message_counts_its_attributes() -> None:
    user = {"k": {"StringValue": "abc", "DataType": "String"}, "b": {"BinaryValue": b"12", "DataType": "Binary"}}
    assert size_of(delivered()) == 7
    assert size_of(delivered(MessageAttributes=user)) == 7 + 4 + 3


@pytest.mark.parametrize(
    ("attributes", "fault", "accepted"),
    [
        ({"MessageRetentionPeriod": "60"}, "MessageRetentionPeriod is 60 s, less than a day", "retention"),
        ({"RedrivePolicy": '{"maxReceiveCount": 5}'}, "RedrivePolicy moves a message away after 5 receives", "redrive"),
        (
            {"RedrivePolicy": '{"maxReceiveCount": "1"}', "MessageRetentionPeriod": "60"},
            "less than a day .*; RedrivePolicy",
            "retention, redrive",
        ),
    ],
    ids=["retention", "redrive", "both"],
)
def test_a_queue_that_loses_messages_is_refused(attributes: dict[str, str], fault: str, accepted: str) -> None:
    with pytest.raises(SettingsError, match=rf"^url: 'q' loses messages .*{fault}.* accept: \[{accepted}\]"):
        refuse_risks(attributes, options())
    refuse_risks(attributes, options(accept=accepted.split(", ")))


@pytest.mark.parametrize(
    "attributes",
    [{}, {"MessageRetentionPeriod": "345600"}, {"RedrivePolicy": '{"maxReceiveCount": 6}'}],
    ids=["unknown", "retention", "redrive"],
)
def test_a_queue_that_keeps_its_messages_is_read(attributes: dict[str, str]) -> None:
    refuse_risks(attributes, options())
