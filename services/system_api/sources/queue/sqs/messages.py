"""Makes a `Message` of what SQS delivers. No I/O."""

import json
from collections.abc import Mapping
from typing import Any

from services.system_api.sources.queue.message import Message
from services.system_api.sources.queue.sqs.options import Risk, SqsSourceOptions
from shared.errors import SettingsError

_CONTENT_TYPE = "content-type"
_DAY = 86_400
_DIGITS = 20
_BODY_ELSEWHERE = ("ExtendedPayloadSize", "SQSLargePayloadSize")
"""Attributes by which a client library says that the body is an object in S3."""


def message_of(delivered: Mapping[str, Any], max_receives: int | None = None) -> Message:
    """Return the message; its token is the receipt of this delivery.

    `max_receives` is after how many of them its queue moves it away, None if it never does.
    """
    system = delivered.get("Attributes", {})
    headers = {
        name: value["StringValue"]
        for name, value in delivered.get("MessageAttributes", {}).items()
        if "StringValue" in value
    }
    receives = _number(system.get("ApproximateReceiveCount")) or 0
    return Message(
        place=delivered["MessageId"],
        body=delivered.get("Body", "").encode(errors="surrogatepass"),
        key=system.get("MessageGroupId", ""),
        headers=headers,
        content_type=next((value for name, value in headers.items() if name.lower() == _CONTENT_TYPE), None),
        time=_milliseconds(system.get("SentTimestamp")),
        deliveries=receives,
        final="moves it to its dead-letter queue" if max_receives is not None and receives >= max_receives else None,
        token=delivered["ReceiptHandle"],
        fault=_fault(headers),
    )


def size_of(delivered: Mapping[str, Any]) -> int:
    """Return the bytes that a message takes, about: its body and its attributes."""
    attributes = delivered.get("MessageAttributes", {})
    values = (value.get("StringValue", value.get("BinaryValue", "")) for value in attributes.values())
    return len(delivered.get("Body", "")) + sum(map(len, attributes)) + sum(map(len, values))


def _number(text: str | None) -> int | None:
    """Return a number that SQS writes as text; None for anything else, as other servers of its API may write."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < _DIGITS else None


def _milliseconds(text: str | None) -> float | None:
    number = _number(text)
    return None if number is None else number / 1000


def _fault(headers: Mapping[str, str]) -> str | None:
    if not any(name in headers for name in _BODY_ELSEWHERE):
        return None
    return "its body is an object in S3, put there by an extended client library; expected the body in the message"


def refuse_risks(attributes: Mapping[str, str], options: SqsSourceOptions) -> None:
    """Check that a queue loses no message in a way that the settings do not accept.

    Raises:
        SettingsError: names each attribute, and how to accept it.
    """
    found: dict[Risk, str] = {}
    kept = int(attributes.get("MessageRetentionPeriod", _DAY))
    if kept < _DAY:
        found[Risk.RETENTION] = f"MessageRetentionPeriod is {kept} s, less than a day"
    receives = max_receives(attributes)
    if receives is not None and receives <= options.max_deliveries:
        found[Risk.REDRIVE] = (
            f"RedrivePolicy moves a message away after {receives} receives, no more than max_deliveries"
            f" ({options.max_deliveries})"
        )
    unaccepted = [risk for risk in found if risk not in options.accept]
    if unaccepted:
        listed = "; ".join(f"{found[risk]} ({risk})" for risk in unaccepted)
        raise SettingsError(
            f"url: {options.name!r} loses messages that were not read: {listed}. Change the queue, or accept that:"
            f" accept: [{', '.join(unaccepted)}]"
        )


def max_receives(attributes: Mapping[str, str]) -> int | None:
    """Return after how many receives a queue moves a message to its dead-letter queue, None if it never does."""
    policy = attributes.get("RedrivePolicy")
    if policy is None:
        return None
    return int(json.loads(policy)["maxReceiveCount"])
