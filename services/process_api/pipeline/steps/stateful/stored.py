"""Events as state. Sans-I/O."""

from typing import Self

import msgspec

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.stateful.grouping import kept_key, key_of
from services.process_api.state.step_state import Moment
from shared.bus.protocol import Headers
from shared.events.event import Channel, json_string
from shared.events.headers import headers_of
from shared.expression.nodes import Raw

_NO_CHANNEL = b'""'


class Stored(msgspec.Struct, array_like=True):
    """An event in the middle of a pipeline."""

    value: bytes
    own_channel: str | None
    """The attribute of the event."""
    channel: str | None
    """What a step has set."""
    provenance: bytes
    kept_key: bytes | None = None
    """Of its record; see `kept_key`. Releases before that had no such member."""

    @classmethod
    def of(cls, draft: Draft, moment: Moment) -> Self:
        """Return an event as it can be stored."""
        own_channel, key = draft.attribute("channel"), kept_key(moment.key, draft.attribute("subject"))
        return cls(draft.encoded(_NO_CHANNEL), own_channel, draft.channel, moment.provenance, key)

    @property
    def headers(self) -> Headers:
        """Return the headers of the event's record."""
        return headers_of(self.provenance)

    def key(self, draft: Draft) -> bytes:
        """Return the key of the event's record; `draft` is the event as it was."""
        return key_of(self.kept_key, draft.attribute("subject"))

    def draft(self) -> Draft:
        """Return the event as it was."""
        draft = Draft(self.value)
        draft.pop_attribute("channel")
        if self.own_channel is not None:
            draft.set_attribute("channel", Raw(json_string(self.own_channel)))
        draft.channel = None if self.channel is None else Channel(self.channel)
        return draft
