"""Isolates messages that may stop the process, and parks those that never get processed to the end. No I/O.

A message whose processing kills the process, or raises an error that is not about the message, comes again and again,
with all messages that were read together with it. Few brokers count that, and a count does not tell which of them is
the harmful one. So the checkpoint does:

    runs        runs in a row that have published nothing
    careful     after two of them: what was delivered before is processed one message at a time
    suspect     so is, in every run, a message that its broker has delivered three times: where it comes again long
                after the others, runs in between publish something
    attempt     each is noted in the checkpoint, and committed, before the message is processed
    parked      a message whose attempts are used up goes to the dead letter topic without another look at it

A message that this process has turned into an event before is harmless: if it comes again, then because the bus or the
broker was unavailable, and however often that happens it is not parked.
"""

from collections import OrderedDict
from collections.abc import Container, Iterable

import msgspec

from services.system_api.sources.queue.message import Message
from services.system_api.sources.source import Checkpoint
from shared.errors import SettingsError

PART = "~attempts"
"""The part of the checkpoint; no ledger has one of this name."""

_CAREFUL_AFTER = 2
"""Runs in a row without a published message after which messages are processed one at a time."""
_CAREFUL_FOR = 1000
"""Messages after which that ends, at the latest."""
_MOST_ATTEMPTS = 100
"""Messages whose attempts are kept; the oldest of more have probably never come again."""
_REMEMBERED = 10_000
"""Messages whose outcome is remembered."""


class _Saved(msgspec.Struct, frozen=True):
    runs: int
    attempts: dict[str, int]
    """By place of a message."""


_encode = msgspec.json.Encoder().encode


class Outcomes:
    """What became of messages in this process; it outlives a run of the source."""

    def __init__(self) -> None:
        self._processed: OrderedDict[str, None] = OrderedDict()
        self._failed: OrderedDict[str, str] = OrderedDict()
        self._final: dict[str, Message] = {}

    def harmless(self, message: Message) -> bool:
        """Return whether an event or a reject was made of a message that is not settled yet."""
        return message.place in self._processed

    def error(self, message: Message) -> str | None:
        """Return the last error that processing a message has raised."""
        return self._failed.get(message.place)

    def note_processed(self, message: Message) -> None:
        """Note that an event or a reject was made of a message."""
        self._processed[message.place] = None
        if len(self._processed) > _REMEMBERED:
            self._processed.popitem(last=False)

    def note_failed(self, message: Message, error: str) -> None:
        """Note that processing a message raised an error that is not about the message."""
        self._failed[message.place] = error
        if len(self._failed) > _REMEMBERED:
            self._failed.popitem(last=False)

    def note_received(self, messages: Iterable[Message]) -> None:
        """Note that messages were delivered, some of them for the last time."""
        self._final |= {message.place: message for message in messages if message.final}

    def take_given_up(self, pending: Container[str]) -> list[Message]:
        """Return what was delivered for the last time, by connections that are closed, and is not settled.

        `pending` are the places of messages that are being committed.
        """
        found = [message for place, message in self._final.items() if place not in pending]
        for message in found:
            del self._final[message.place]
        return found

    def note_settled(self, messages: Iterable[Message]) -> None:
        """Note that messages are committed, so that nothing needs to be remembered of them."""
        for message in messages:
            self._processed.pop(message.place, None)
            self._failed.pop(message.place, None)
            self._final.pop(message.place, None)


class Attempts:
    """The runs and attempts of one source, as of its checkpoint."""

    def __init__(self, max_deliveries: int, outcomes: Outcomes, checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint.

        Raises:
            SettingsError: it is not that of a queue.
        """
        self.outcomes = outcomes
        self._allowed = max(1, max_deliveries - _CAREFUL_AFTER)
        try:
            value = checkpoint.get(PART)
            saved = _Saved(0, {}) if value is None else msgspec.json.decode(value, type=_Saved)
        except msgspec.MsgspecError as exc:
            raise SettingsError(f"the checkpoint is not that of a queue ({exc}): give the source another name") from exc
        self._runs = saved.runs
        self._attempts = dict(saved.attempts)
        self._careful = _CAREFUL_FOR if self._runs >= _CAREFUL_AFTER else 0
        self._changed = False
        self._begun = False

    @property
    def careful(self) -> bool:
        """Whether messages that were delivered before are processed one at a time."""
        return self._careful > 0

    def begin(self) -> dict[str, bytes | None] | None:
        """Return what to save before the first message of this run is processed; None if the run has begun."""
        if self._begun:
            return None
        self._begun = True
        self._runs += 1
        self._changed = True
        return self.take_checkpoint()

    def suspects(self, message: Message) -> bool:
        """Return whether a message must be processed by itself, after its attempt is saved."""
        if self.outcomes.harmless(message):
            return False
        often = message.deliveries > _CAREFUL_AFTER or message.place in self._attempts
        return often or (self.careful and message.deliveries != 1)

    def attempt(self, message: Message) -> dict[str, bytes | None]:
        """Note that a message is about to be processed; return what to save before."""
        self._attempts[message.place] = self._attempts.pop(message.place, 0) + 1
        if len(self._attempts) > _MOST_ATTEMPTS:
            del self._attempts[next(iter(self._attempts))]
        self._changed = True
        return self.take_checkpoint()

    def refusal(self, message: Message) -> str | None:
        """Return why a message must not be processed any more, None if it may be."""
        if self._attempts.get(message.place, 0) <= self._allowed:
            return None
        error = self.outcomes.error(message)
        return f"delivered {self.tries(message)} times and never processed to the end" + (
            f"; the last error: {error}" if error else ""
        )

    def tries(self, message: Message) -> int:
        """Return how often a message was delivered."""
        attempts = self._attempts.get(message.place, 0)
        return max(message.deliveries, attempts + _CAREFUL_AFTER if attempts else 1)

    def note_processed(self, message: Message) -> None:
        """Note that an event or a reject was made of a message, which is published with the next checkpoint."""
        self.outcomes.note_processed(message)
        if self._attempts.pop(message.place, None) is not None or self._runs:
            self._runs = 0
            self._changed = True
        if self._careful:
            self._careful = 0 if message.deliveries == 1 and not self._attempts else self._careful - 1
            if not self._careful:
                self._attempts.clear()  # what is left has never come again

    def take_checkpoint(self) -> dict[str, bytes | None]:
        """Return the part of the checkpoint, if it has changed."""
        if not self._changed:
            return {}
        self._changed = False
        return {PART: _encode(_Saved(self._runs, self._attempts))}
