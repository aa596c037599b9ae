"""Finds out how a queue was declared, and refuses one that loses messages.

AMQP 0.9.1 has no way to ask. But a broker that is told to declare an existing queue with other arguments names the
first one that differs, with its value; so each attempt reveals one. Policies of the broker stay hidden.
"""

import logging
import re
from collections.abc import Mapping
from typing import NamedTuple

from services.system_api.sources.queue.rabbitmq.client import (
    ChannelAccessRefused,
    ChannelPreconditionFailed,
    RabbitmqClient,
    rabbitmq_errors,
)
from services.system_api.sources.queue.rabbitmq.options import RabbitmqSourceOptions, Risk
from shared.errors import SettingsError, Unavailable

logger = logging.getLogger(__name__)

_ATTEMPTS = 24
"""More than a queue has arguments."""
_DIFFERENCE = re.compile(
    r"inequivalent arg '(?P<name>[^']+)'.* but current is (?:the value )?'?(?P<value>[^']*)'?(?: of type '[^']*')?$",
    re.DOTALL,
)
_NUMBER = re.compile(r"-?[0-9]+")

QUORUM, CLASSIC, STREAM = "quorum", "classic", "stream"

_DEFAULT_LIMIT, _LIMITED_SINCE = 20, 4
"""The delivery limit of quorum queues that were declared without one, and the major version that began with it."""


class Declaration(NamedTuple):
    """How a queue was declared."""

    durable: bool = True
    auto_delete: bool = False
    arguments: Mapping[str, str | int] = {}
    major_version: int = 0
    """Of the broker."""

    @property
    def type(self) -> str:
        """`quorum`, `classic` or `stream`."""
        return str(self.arguments.get("x-queue-type", CLASSIC))

    @property
    def single_active_consumer(self) -> bool:
        """Whether the broker gives the messages to one consumer at a time."""
        return self.arguments.get("x-single-active-consumer") == "true"

    @property
    def dead_letters(self) -> bool:
        """Whether messages that are dropped go to another exchange."""
        return "x-dead-letter-exchange" in self.arguments

    @property
    def delivery_limit(self) -> int | None:
        """How often a message is delivered again before it is dropped, None without a limit.

        Source: https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling.
        """
        limit = self.arguments.get("x-delivery-limit")
        if isinstance(limit, int):
            return limit if limit >= 0 else None
        return _DEFAULT_LIMIT if self.type == QUORUM and self.major_version >= _LIMITED_SINCE else None


async def declaration(client: RabbitmqClient, options: RabbitmqSourceOptions) -> Declaration | None:
    """Return how an existing queue was declared; None if the user may not find out.

    Raises:
        Unavailable: the queue does not exist, or the broker does not answer.
    """
    channel = await client.channel()
    with rabbitmq_errors(options):
        await channel.queue_declare(options.target, passive=True, timeout=options.connect_timeout)
        await channel.close()
    found = Declaration(major_version=client.major_version)
    for _ in range(_ATTEMPTS):
        channel = await client.channel()
        try:
            with rabbitmq_errors(options):
                try:
                    await channel.queue_declare(
                        options.target,
                        durable=found.durable,
                        auto_delete=found.auto_delete,
                        arguments=dict(found.arguments),
                        timeout=options.connect_timeout,
                    )
                except ChannelPreconditionFailed as exc:
                    found = corrected(found, str(exc))
                    continue
                except ChannelAccessRefused:
                    return None
        finally:
            await channel.close()
        return found
    raise Unavailable(f"cannot find out how {options.in_words} was declared")


def corrected(tried: Declaration, refusal: str) -> Declaration:
    """Return what was tried with the argument corrected that the broker names."""
    found = _DIFFERENCE.search(refusal)
    if found is None:
        raise Unavailable(f"cannot find out how the queue was declared: {refusal}")
    name, text = found["name"], found["value"]
    if name == "durable":
        return tried._replace(durable=text == "true")
    if name == "auto_delete":
        return tried._replace(auto_delete=text == "true")
    value: str | int = int(text) if _NUMBER.fullmatch(text) else text
    return tried._replace(arguments={**tried.arguments, name: value})


def risks(found: Declaration, max_deliveries: int) -> dict[Risk, str]:
    """Return how a queue loses messages, each with what was found."""
    arguments = found.arguments
    saved, limit = found.dead_letters, found.delivery_limit
    said = f"x-delivery-limit: {limit}" + ("" if "x-delivery-limit" in arguments else ", the default of this broker")
    overflow = arguments.get("x-overflow", "drop-head")
    bounds = [name for name in ("x-max-length", "x-max-length-bytes") if name in arguments]
    candidates = {
        Risk.NOT_DURABLE: "durable: false" if not found.durable else None,
        Risk.AUTO_DELETE: "auto_delete: true" if found.auto_delete else None,
        Risk.EXPIRES: f"x-expires: {arguments['x-expires']}" if "x-expires" in arguments else None,
        Risk.MESSAGE_TTL: f"x-message-ttl: {arguments['x-message-ttl']} without a dead-letter exchange"
        if "x-message-ttl" in arguments and not saved
        else None,
        Risk.MAX_LENGTH: f"{bounds[0]}: {arguments[bounds[0]]} with x-overflow: drop-head and no dead-letter exchange"
        if bounds and overflow == "drop-head" and not saved
        else None,
        Risk.DELIVERY_LIMIT: f"{said}, not above max_deliveries ({max_deliveries})"
        if limit is not None and limit <= max_deliveries and not saved
        else None,
    }
    return {risk: text for risk, text in candidates.items() if text is not None}


def refuse_risks(found: Declaration, options: RabbitmqSourceOptions) -> None:
    """Check that a queue is of the kind that the settings say, and loses no message in a way that they do not accept.

    Raises:
        SettingsError: names the argument, and how to accept it.
    """
    if (found.type == STREAM) != (options.stream is not None):
        setting = "stream" if found.type == STREAM else "queue"
        raise SettingsError(
            f"{'queue' if options.queue else 'stream'}: {options.target!r} is a {setting}; set `{setting}`"
        )
    if options.stream is not None:
        return
    unaccepted = {
        risk: text for risk, text in risks(found, options.max_deliveries).items() if risk not in options.accept
    }
    if unaccepted:
        listed = "; ".join(f"{text} ({risk})" for risk, text in unaccepted.items())
        raise SettingsError(
            f"queue: {options.target!r} loses messages that were not read: {listed}. Declare it otherwise, or accept"
            f" that: accept: [{', '.join(unaccepted)}]"
        )


async def inspected(client: RabbitmqClient, options: RabbitmqSourceOptions) -> str:
    """Check an existing queue as a source would that is opened; return in a few words what was found.

    Raises:
        Unavailable: the queue does not exist, or the broker does not answer.
        SettingsError: as `refuse_risks`.
    """
    found = await declaration(client, options)
    if found is not None:
        refuse_risks(found, options)
    channel = await client.channel()
    with rabbitmq_errors(options):
        answer = await channel.queue_declare(options.target, passive=True, timeout=options.connect_timeout)
    kind = "" if found is None else f"{found.type} "
    return f"{kind}queue {options.target!r} at {options.host}:{options.port}, {answer.message_count or 0} messages"
